"""A list inside a method is a grid: ``lora: {rank: [8, 16]}`` is two methods."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fairtune.errors import Problem, suggest
from fairtune.study.problems import problems_of
from fairtune.study.spec import MethodChoice, Strict, Training
from fairtune.study.vocabulary import MethodWords, Vocabulary

# Any method may be limited to some of the models.
MODELS = "models"


@dataclass(frozen=True)
class Candidate:
    """A method with its options, and the training keys it overrides."""

    choice: MethodChoice
    overrides: dict[str, Any]
    models: tuple[str, ...] | None = None
    """Names of the models it is for; None for all."""


def parse_methods(
    entries: list[Any], vocabulary: Vocabulary, training: Training
) -> tuple[list[Candidate], list[Problem]]:
    """Every method of a study, grids expanded in the order written, and everything wrong with them."""
    candidates: list[Candidate] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        found, wrong = _parse_entry(entry, f"methods[{index}]", vocabulary, training)
        candidates += found
        problems += wrong
    return _labelled(candidates, training), problems


def _parse_entry(
    entry: Any, path: str, vocabulary: Vocabulary, training: Training
) -> tuple[list[Candidate], list[Problem]]:
    named = _name_and_options(entry)
    if named is None:
        return [], [Problem(path, f"{entry!r} is neither a method's name nor one `name: {{options}}`")]
    name, raw = named
    if name not in vocabulary.methods:
        return [], [Problem(path, f"unknown method '{name}'; {suggest(name, vocabulary.methods)}")]
    words = vocabulary.methods[name]
    path = f"{path}.{name}"
    wrong = _wrong_keys(raw, words, path)
    if wrong:
        return [], wrong
    models = raw.get(MODELS)
    chosen = None if models is None else tuple(models) if isinstance(models, list) else (str(models),)
    candidates: list[Candidate] = []
    problems: dict[Problem, None] = {}
    for options in _expand({key: value for key, value in raw.items() if key != MODELS}, words):
        try:
            candidates.append(replace(_candidate(name, options, words, training), models=chosen))
        except _WrongOptionError as found:
            problems.update(dict.fromkeys(problems_of(found.error, found.model, path)))
    return candidates, list(problems)


def _wrong_keys(raw: Mapping[str, Any], words: MethodWords, path: str) -> list[Problem]:
    allowed = {*words.options.model_fields, *(Training.model_fields if words.trains else ()), MODELS}
    unknown = [] if words.open else [key for key in raw if key not in allowed]
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
    """Methods of one name are told apart by the options in which they differ, however they were written."""
    labelled = []
    for candidate in candidates:
        ours = _settings(candidate, training)
        family = [_settings(other, training) for other in candidates if other.choice.name == candidate.choice.name]
        varied = [key for key, value in ours.items() if any(other.get(key) != value for other in family)]
        label = " ".join([candidate.choice.name, *(f"{key}={_shown(ours[key])}" for key in varied)])
        labelled.append(replace(candidate, choice=candidate.choice.model_copy(update={"label": label})))
    return _numbered(labelled)


def _numbered(candidates: list[Candidate]) -> list[Candidate]:
    """No two methods that ask for different things share a label: they would be taken for seeds of one."""
    seen: dict[str, list[Candidate]] = {}
    numbered = []
    for candidate in candidates:
        label = candidate.choice.label
        alike = seen.setdefault(label, [])
        asked = replace(candidate, models=None)
        if asked not in alike:
            alike.append(asked)
        place = alike.index(asked)
        if place:
            label = f"{label} ({place + 1})"
        numbered.append(replace(candidate, choice=candidate.choice.model_copy(update={"label": label})))
    return numbered


def _settings(candidate: Candidate, training: Training) -> dict[str, Any]:
    return {**training.with_changes(candidate.overrides), **candidate.choice.options}


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


def _expand(raw: Mapping[str, Any], words: MethodWords) -> Iterator[dict[str, Any]]:
    """Every combination of the listed values, in the order written."""
    axes = {key: value for key, value in raw.items() if isinstance(value, list) and _is_axis(key, value, words)}
    for values in itertools.product(*axes.values()):
        yield {**raw, **dict(zip(axes, values, strict=True))}


def _is_axis(key: str, value: list[Any], words: MethodWords) -> bool:
    if key not in words.options.model_fields and key not in Training.model_fields:
        return False
    model: type[Strict] = words.options if key in words.options.model_fields else Training
    takes_list = _takes_list(model.model_fields[key].annotation)
    return not takes_list or any(isinstance(item, list) for item in value)


def _takes_list(annotation: Any) -> bool:
    if get_origin(annotation) in (list, tuple):
        return True
    return any(_takes_list(argument) for argument in get_args(annotation))
