"""What of a study's ``tune`` each method searches, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic.fields import FieldInfo

from fairtune.errors import Problem, suggest
from fairtune.study.spec import Training
from fairtune.study.tune import MOST, TRIALS, TUNE, Range, Sampler, Space, Tune, parse_space, possible
from fairtune.study.vocabulary import TEACHER, MethodWords

_LENGTH = frozenset({"epochs", "updates"})
REFUSED = {
    "max_length": "validation examples are cut to it, so losses of two lengths would be losses of other tokens",
    TEACHER: "who teaches is no option of a trial; write the method once for each teacher",
}
"""Keys that cannot be searched, and why."""

_SETTINGS = frozenset({"trials", "sampler"})


@dataclass(frozen=True)
class Shared:
    """What a study searches of every method that has it."""

    space: Space
    sampler: Sampler | None
    trials: int | None


@dataclass(frozen=True)
class Terms:
    """How every method of a study is tuned: by which sampler, in how many trials at most."""

    sampler: Sampler
    trials: int


def shared_of(tune: Tune, methods: Sequence[MethodWords]) -> tuple[Shared, list[Problem]]:
    """A study's own ``tune``, and everything wrong with it.

    Args:
        methods: those of the study, as far as their names are known.
    """
    trained = [words for words in methods if words.trains]
    if methods and not trained:
        return Shared({}, None, None), [Problem(TUNE, "no method of the study trains; leave it out")]
    space, problems = parse_space(tune.searched, TUNE)
    allowed = set(Training.model_fields).union(*(words.options.model_fields for words in trained)) - set(REFUSED)
    problems += _wrong_keys(space, allowed if methods else None, TUNE)
    problems += _no_grid(space, tune.sampler, TUNE)
    return Shared(space, tune.sampler, tune.trials), problems


def narrowed(
    shared: Shared | None, raw: Any, own: Mapping[str, Any], words: MethodWords, path: str
) -> tuple[dict[str, Any], list[Problem]]:
    """What one method searches: the study's keys that it has, and its own over them.

    What the method itself gives a value is not searched, and neither is another length of training beside its own.

    Args:
        shared: None where the study has no ``tune``.
        raw: the method's own ``tune``, as written; None where it has none.
        own: the options that it gives values.
    """
    if shared is None:
        told = (
            f"the study has no `{TUNE}`, which gives every method its trials; write `{TUNE}: {{trials: {TRIALS}}}` too"
        )
        return {}, [Problem(f"{path}.{TUNE}", told)] if raw is not None else []
    if not words.trains:
        return {}, []
    where = f"{path}.{TUNE}"
    raw = {} if raw is None else raw
    mine, problems = parse_space(_without_settings(raw), where)
    known = {**words.options.model_fields, **_training_fields(words)}
    problems += _of_the_study(raw, where)
    problems += _wrong_keys(mine, None if words.open else set(known) - set(REFUSED), where)
    problems += _no_grid(mine, shared.sampler, where)
    problems += [
        Problem(f"{where}.{key}", f"{path}.{key} gives it a value; keep one of the two") for key in mine if key in own
    ]
    taken = {*own, *mine}
    taken |= _LENGTH if taken & _LENGTH else set()
    theirs = {key: values for key, values in shared.space.items() if key in known and key not in taken}
    space: dict[str, Any] = {}
    for key, values in (theirs | mine).items():
        fitted = _fitted(values, known.get(key)) if isinstance(values, Range) else values
        if isinstance(fitted, str):
            problems.append(Problem(f"{where if key in mine else TUNE}.{key}", f"{path} {fitted}"))
        space[key] = fitted
    return space, problems or _too_many(space, where)


def terms_of(shared: Shared, spaces: Iterable[Space]) -> tuple[Terms, list[Problem]]:
    """How all methods are tuned.

    Args:
        spaces: what each of them searches.
    """
    searched = [space for space in spaces if space]
    endless = any(isinstance(values, Range) for space in searched for values in space.values())
    sampler = shared.sampler or ("tpe" if endless else "grid")
    sizes = [size for space in searched if (size := possible(space)) is not None]
    trials = shared.trials or (max(sizes, default=TRIALS) if sampler == "grid" else TRIALS)
    told = "nothing is left to search: no key is given, or every method that has it gives it a value"
    return Terms(sampler, trials), [] if searched else [Problem(TUNE, told)]


def _training_fields(words: MethodWords) -> dict[str, FieldInfo]:
    """An option of the method's own hides a key of the recipe."""
    fields = Training.model_fields
    return {key: field for key, field in fields.items() if key not in words.options.model_fields}


def _without_settings(raw: Any) -> Any:
    return {key: value for key, value in raw.items() if key not in _SETTINGS} if isinstance(raw, Mapping) else raw


def _of_the_study(raw: Any, where: str) -> list[Problem]:
    told = f"every method has the same; write it in the study's own `{TUNE}`"
    return [Problem(f"{where}.{key}", told) for key in _SETTINGS if isinstance(raw, Mapping) and key in raw]


def _wrong_keys(space: Space, allowed: set[str] | None, where: str) -> list[Problem]:
    """``allowed``: None where nobody knows."""
    found = [Problem(f"{where}.{key}", f"cannot be searched: {REFUSED[key]}") for key in space if key in REFUSED]
    if allowed is None:
        return found
    unknown = [key for key in space if key not in allowed and key not in REFUSED]
    what = "no method of the study has it" if where == TUNE else "unknown"
    return found + [Problem(f"{where}.{key}", f"{what}; {suggest(key, allowed)}") for key in unknown]


def _no_grid(space: Space, sampler: Sampler | None, where: str) -> list[Problem]:
    told = "a grid needs a list; give values, or write `sampler: random` or `sampler: tpe`"
    ranges = [key for key, values in space.items() if isinstance(values, Range)] if sampler == "grid" else []
    return [Problem(f"{where}.{key}", told) for key in ranges]


def _too_many(space: Space, where: str) -> list[Problem]:
    count = math.prod(2 if isinstance(values, Range) else len(values) for values in space.values())
    if count <= MOST:
        return []
    return [Problem(where, f"{count:,} combinations of listed values, and {MOST:,} are the most; give ranges instead")]


def _fitted(found: Range, field: FieldInfo | None) -> Range | str:
    """The range in the numbers that the option takes; or why there is none."""
    kinds = {float, int} if field is None else set(_numbers(field.annotation))
    if not kinds:
        return "takes no numbers for it; give a list of choices"
    if kinds == {float, int}:
        return found
    if float in kinds:
        return found.model_copy(update={"low": float(found.low), "high": float(found.high)})
    if not (float(found.low).is_integer() and float(found.high).is_integer()):
        return f"takes whole numbers for it, not {found.low:g} to {found.high:g}"
    return found.model_copy(update={"low": int(found.low), "high": int(found.high)})


def _numbers(annotation: Any) -> Iterator[type]:
    if annotation in (int, float):
        yield annotation
    for argument in get_args(annotation):
        yield from _numbers(argument)
