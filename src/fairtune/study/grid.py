"""A list inside a method is a grid: ``lora: {rank: [8, 16]}`` is two methods. So it is inside an augmentation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fairtune.errors import Problem, suggest
from fairtune.study.fields import Strict
from fairtune.study.problems import problems_of
from fairtune.study.spec import AugmentChoice, MethodChoice, Training
from fairtune.study.tune import TUNE, Space, corners
from fairtune.study.tuned_options import Shared, narrowed
from fairtune.study.vocabulary import AugmentWords, MethodWords, Vocabulary

# Any method may be limited to some of the models.
MODELS = "models"

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate:
    """A method with its options, and the training keys it overrides."""

    choice: MethodChoice
    overrides: dict[str, Any]
    models: tuple[str, ...] | None = None
    """Names of the models it is for; None for all."""
    space: Space = field(default_factory=dict)
    """What trials are to choose; ``choice`` and ``overrides`` then have the first of each. Empty: nothing."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """What the study gives a method whose other options are searched, as written."""

    def with_values(self, values: Mapping[str, Any], words: MethodWords, training: Training) -> Candidate:
        """The method with these values for what is searched."""
        made = _candidate(self.choice.name, {**self.own, **values}, words, training)
        choice = made.choice.model_copy(update={"label": self.choice.label})
        return replace(made, choice=choice, models=self.models)


def parse_methods(
    entries: list[Any], vocabulary: Vocabulary, training: Training, shared: Shared | None = None
) -> tuple[list[Candidate], list[Problem]]:
    """Every method of a study, grids expanded in the order written, and everything wrong with them.

    Args:
        shared: what the study searches; None where it searches nothing.
    """
    candidates: list[Candidate] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        found, wrong = _parse_entry(entry, f"methods[{index}]", vocabulary, training, shared)
        candidates += found
        problems += wrong
    return _labelled(candidates, training), problems


def named_methods(entries: list[Any], vocabulary: Vocabulary) -> list[MethodWords]:
    """The methods that are named, of those that are known."""
    named = [found for entry in entries if (found := _name_and_options(entry)) is not None]
    return [vocabulary.methods[name] for name, _ in named if name in vocabulary.methods]


def parse_augments(entries: list[Any], vocabulary: Vocabulary) -> tuple[list[AugmentChoice | None], list[Problem]]:
    """Every augmentation of a study, as :func:`parse_methods`; None for the training examples as they are."""
    found: list[AugmentChoice | None] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        choices, wrong = _parse_augment(entry, f"augment[{index}]", vocabulary)
        found += choices
        problems += wrong
    chosen = [choice for choice in found if choice is not None]
    # Of what differs, only what was chosen is told: `eda` and `eda ratio=0.5`.
    labels = iter(_labels([(choice.name, choice.chosen) for choice in chosen], chosen))
    return [choice and choice.model_copy(update={"label": next(labels)}) for choice in found], problems


def _parse_entry(
    entry: Any, path: str, vocabulary: Vocabulary, training: Training, shared: Shared | None
) -> tuple[list[Candidate], list[Problem]]:
    name, raw, problems = _looked_up(entry, path, "method", vocabulary.methods)
    if problems:
        return [], problems
    words, path = vocabulary.methods[name], f"{path}.{name}"
    known: list[type[Strict]] = [words.options, *([Training] if words.trains else [])]
    ours = {MODELS, *([TUNE] if words.trains else [])}
    wrong = _wrong_keys(raw, ours.union(*(model.model_fields for model in known)), path, words.open)
    if wrong:
        return [], wrong
    models = raw.get(MODELS)
    chosen = None if models is None else tuple(models) if isinstance(models, list) else (str(models),)
    own = {key: value for key, value in raw.items() if key not in ours}
    space, wrong = narrowed(shared, raw.get(TUNE), own, words, path)
    if wrong:
        return [], wrong
    candidates, problems = _candidates(name, own, space, words, training, path)
    placed = [_placed(problem, path, space, raw.get(TUNE) or {}) for problem in problems]
    return [replace(candidate, models=chosen) for candidate in candidates], placed


def _candidates(
    name: str, own: Mapping[str, Any], space: Space, words: MethodWords, training: Training, path: str
) -> tuple[list[Candidate], list[Problem]]:
    """A candidate for every combination of the listed values, each tried with every end of what is searched."""
    made: list[Candidate] = []
    problems: dict[Problem, None] = {}
    for options in _expand(own, [words.options, Training]):
        tried = []
        for values in corners(space):
            try:
                tried.append(_candidate(name, {**options, **values}, words, training))
            except _WrongOptionError as found:
                problems.update(dict.fromkeys(problems_of(found.error, found.model, path)))
        made += [replace(found, space=space, own=options) if space else found for found in tried[:1]]
    return made, list(problems)


def _placed(problem: Problem, path: str, space: Space, own: Mapping[str, Any]) -> Problem:
    """Under ``tune``, where the value that is wrong stands there."""
    key = next((key for key in space if f"{problem.path}.".startswith((f"{path}.{key}.", f"{path}.{key}["))), None)
    if key is None:
        return problem
    rest = problem.path.removeprefix(path)
    return Problem(f"{path}.{TUNE}{rest}" if key in own else f"{TUNE}{rest}", problem.message)


def _parse_augment(
    entry: Any, path: str, vocabulary: Vocabulary
) -> tuple[Sequence[AugmentChoice | None], list[Problem]]:
    name, raw, problems = _looked_up(entry, path, "augmentation", vocabulary.augmentations)
    if problems:
        return [], problems
    words, path = vocabulary.augmentations[name], f"{path}.{name}"
    wrong = _wrong_keys(raw, set(words.options.model_fields), path)
    if wrong:
        return [], wrong
    return _each(raw, [words.options], path, lambda options: _augment_choice(name, options, words))


def _augment_choice(name: str, options: Mapping[str, Any], words: AugmentWords) -> AugmentChoice | None:
    filled = _validated(words.options, options)
    if not words.changes:
        return None
    chosen = filled.model_dump(mode="json", exclude_defaults=True)
    return AugmentChoice(name=name, options=filled.model_dump(mode="json"), chosen=chosen, label=name)


def _looked_up(
    entry: Any, path: str, what: str, table: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any], list[Problem]]:
    """The name and the options of an entry, or what is wrong with it."""
    named = _name_and_options(entry)
    if named is None:
        article = "an" if what[0] in "aeiou" else "a"
        told = f"{'nothing' if entry is None else entry} is neither {article} {what}'s name nor one `name: {{options}}`"
        return "", {}, [Problem(path, told)]
    name, raw = named
    if name not in table:
        return name, raw, [Problem(path, f"unknown {what} '{name}'; {suggest(name, table)}")]
    return name, raw, []


def _each(
    raw: Mapping[str, Any], known: Sequence[type[Strict]], path: str, make: Callable[[Mapping[str, Any]], T]
) -> tuple[list[T], list[Problem]]:
    """What is made of every combination of the listed values, and everything wrong with them."""
    made: list[T] = []
    problems: dict[Problem, None] = {}
    for options in _expand(raw, known):
        try:
            made.append(make(options))
        except _WrongOptionError as found:
            problems.update(dict.fromkeys(problems_of(found.error, found.model, path)))
    return made, list(problems)


def _wrong_keys(raw: Mapping[str, Any], allowed: set[str], path: str, any_key: bool = False) -> list[Problem]:
    unknown = [] if any_key else [key for key in raw if key not in allowed]
    return [Problem(f"{path}.{key}", f"unknown; {suggest(str(key), allowed)}") for key in unknown] + [
        Problem(f"{path}.{key}", "is an empty list; give values, or leave it out") for key in raw if raw[key] == []
    ]


def _name_and_options(entry: Any) -> tuple[str, Mapping[str, Any]] | None:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        name, options = next(iter(entry.items()))
        if isinstance(name, str) and (options is None or isinstance(options, dict)):
            return name, options or {}
    return None


class _WrongOptionError(Exception):
    def __init__(self, error: ValidationError, model: type[BaseModel]) -> None:
        self.error, self.model = error, model


def _validated(model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _WrongOptionError(error, model) from None


def _candidate(name: str, options: Mapping[str, Any], words: MethodWords, training: Training) -> Candidate:
    overrides = {key: value for key, value in options.items() if _is_override(key, words)}
    own = {key: value for key, value in options.items() if key not in overrides}
    filled = _validated(words.options, own)
    _validated(Training, training.with_changes(overrides))
    choice = MethodChoice(
        name=name,
        options=filled.model_dump(mode="json"),
        chosen=filled.model_dump(mode="json", exclude_defaults=True),
        trains=words.trains,
        label=name,
    )
    return Candidate(choice, overrides)


def _is_override(key: str, words: MethodWords) -> bool:
    return key in Training.model_fields and key not in words.options.model_fields


def _labelled(candidates: list[Candidate], training: Training) -> list[Candidate]:
    settings = [(candidate.choice.name, _settings(candidate, training)) for candidate in candidates]
    labels = _labels(settings, [replace(candidate, models=None) for candidate in candidates])
    return [
        replace(candidate, choice=candidate.choice.model_copy(update={"label": label}))
        for candidate, label in zip(candidates, labels, strict=True)
    ]


def _labels(settings: Sequence[tuple[str, Mapping[str, Any]]], asked: Sequence[Any]) -> list[str]:
    """Entries of one name are told apart by the options in which they differ, however they were written."""
    labels = []
    for name, ours in settings:
        family = [theirs for other, theirs in settings if other == name]
        varied = [key for key, value in ours.items() if any(other.get(key) != value for other in family)]
        labels.append(" ".join([name, *(f"{key}={_shown(ours[key])}" for key in varied)]))
    return _numbered(labels, asked)


def _numbered(labels: Sequence[str], asked: Sequence[Any]) -> list[str]:
    """No two entries that ask for different things share a label: they would be taken for seeds of one."""
    seen: dict[str, list[Any]] = {}
    numbered = []
    for label, entry in zip(labels, asked, strict=True):
        alike = seen.setdefault(label, [])
        if entry not in alike:
            alike.append(entry)
        place = alike.index(entry)
        numbered.append(f"{label} ({place + 1})" if place else label)
    return numbered


def _settings(candidate: Candidate, training: Training) -> dict[str, Any]:
    searched = dict.fromkeys(candidate.space, "tuned")
    return {**training.with_changes(candidate.overrides), **candidate.choice.options, **searched}


def _shown(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ",".join(_pair(key, part) for key, part in value.items() if part not in (None, False))
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _pair(key: str, value: Any) -> str:
    """``lora`` for a method without options of its own, ``lora(rank=2)`` with them; ``run:full`` for a plain value."""
    if isinstance(value, dict):
        return f"{key}({_inside(value)})" if value else key
    return f"{key}:{value}"


def _inside(options: dict[str, Any]) -> str:
    return ",".join(f"{key}={_shown(value)}" for key, value in options.items())


def _expand(raw: Mapping[str, Any], known: Sequence[type[Strict]]) -> Iterator[dict[str, Any]]:
    """Every combination of the listed values, in the order written."""
    axes = {key: value for key, value in raw.items() if isinstance(value, list) and _is_axis(key, value, known)}
    for values in itertools.product(*axes.values()):
        yield {**raw, **dict(zip(axes, values, strict=True))}


def _is_axis(key: str, value: list[Any], known: Sequence[type[Strict]]) -> bool:
    """A list is a value itself where the option, in the first of these models that has it, takes one."""
    model = next((model for model in known if key in model.model_fields), None)
    if model is None:
        return False
    takes_list = _takes_list(model.model_fields[key].annotation)
    return not takes_list or any(isinstance(item, list) for item in value)


def _takes_list(annotation: Any) -> bool:
    if get_origin(annotation) in (list, tuple):
        return True
    return any(_takes_list(argument) for argument in get_args(annotation))
