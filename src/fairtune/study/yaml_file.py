"""YAML as people expect it: ``1e-4`` is a number, a key given twice is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from fairtune.errors import SpecError


class _Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, where ``1e-4`` is text and the last of two equal keys wins silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key_node.value}' is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SpecError: no such file, not text, not YAML (with line and column), or not a mapping.
    """
    data = _parsed(path, lambda text: yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise SpecError(f"holds {found}; a mapping with keys such as name, task, models is needed", str(path))
    return {str(key): value for key, value in data.items()}


def keys_of(path: Path) -> set[str]:
    """The keys of a YAML file, whatever stands under them: tags of others (``!function``) too.

    Raises:
        SpecError: no such file, not text, or not YAML (with line and column).
    """
    found = _parsed(path, lambda text: yaml.compose(text, Loader=yaml.SafeLoader))
    return {str(key.value) for key, _ in found.value} if isinstance(found, yaml.MappingNode) else set()


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError("no such file; `fairtune init DATA.jsonl` writes a study to start from", str(path)) from None
    except IsADirectoryError:
        raise SpecError("is a folder; give the YAML file itself", str(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"is not UTF-8 text (byte {error.start}); a study is a YAML file", str(path)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", str(path)) from None
    try:
        return parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SpecError(f"{at}not valid YAML: {error.problem}", str(path)) from None
    except yaml.YAMLError as error:
        raise SpecError(f"not valid YAML: {' '.join(str(error).split())}", str(path)) from None
