"""pydantic's errors, told as paths and advice."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fairtune.errors import Problem, suggest

_LITERALS = {"literal_error", "enum"}


def problems_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Problem]:
    """One :class:`Problem` per mistake, with the nearest allowed name for an unknown key."""
    found: dict[str, Problem] = {}
    for detail in error.errors():
        names = _as_typed(detail["loc"], model)
        path = join_path(prefix, names)
        if detail["type"] == "extra_forbidden":
            message = f"unknown; {suggest(str(names[-1]), _fields_at(names[:-1], model))}"
        elif detail["type"] == "missing":
            message = "is required and missing"
        elif detail["type"] in _LITERALS:
            message = f"{detail['input']!r} is not allowed; {suggest(str(detail['input']), _choices(detail))}"
        else:
            message = f"{_shown(detail['input'])}: {_sentence(detail['msg'])}"
        found.setdefault(path, Problem(path, message))
    return list(found.values())


def join_path(prefix: str, names: Sequence[str | int]) -> str:
    """``("methods", 2, "lora")`` as ``methods[2].lora``."""
    path = prefix
    for name in names:
        path += f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
    return path


def _as_typed(loc: Sequence[str | int], model: type[BaseModel]) -> list[str | int]:
    """The path as typed: pydantic also names the branch of a union it tried, which nobody wrote."""
    names: list[str | int] = []
    current: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            names.append(part)
            continue
        fields = {name: info for cls in current for name, info in cls.model_fields.items()}
        if part in fields:
            names.append(part)
            current = list(_models_in(fields[part].annotation))
        elif part is loc[-1] and not _is_branch(part):
            names.append(part)
    return names


def _is_branch(part: str) -> bool:
    return part in {"str", "float", "int", "Task", "BenchmarkRef"} or "[" in part or "-" in part


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated, list, tuple):
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _fields_at(names: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    current: list[type[BaseModel]] = [model]
    for name in names:
        if isinstance(name, str):
            infos = [cls.model_fields[name] for cls in current if name in cls.model_fields]
            current = [found for info in infos for found in _models_in(info.annotation)]
    return [field for cls in current for field in cls.model_fields]


def _choices(detail: Any) -> list[str]:
    expected = str(detail.get("ctx", {}).get("expected", ""))
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").strip()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
