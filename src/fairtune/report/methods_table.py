"""The table of methods, for the terminal, programs, the README and the documentation: one source for all."""

from __future__ import annotations

from typing import Any

from fairtune.methods import FORMULA_WORDS, METHODS, Method


def method_rows(full: bool) -> list[dict[str, Any]]:
    """A row a method.

    Args:
        full: also what only a program or a page of documentation has room for.
    """
    return [_row(method, full) for method in METHODS.values()]


def _row(method: Method, full: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": method.name,
        "trains": method.summary,
        "parameters": method.formula or "depends on the type",
        "learning_rate": method.learning_rate,
        "devices": list(method.devices),
        "precisions": list(method.precisions),
        "paper": method.paper,
    }
    if not full:
        return row
    return {
        **row,
        "learning_rate_reason": method.learning_rate_reason,
        "options": {name: field.description or "" for name, field in method.options.model_fields.items()},
        "devices_run": ["cpu"],
        "devices_missing_because": method.device_reason,
        "starts_elsewhere": method.starts_elsewhere,
        "no_gradient_checkpointing": method.no_checkpointing,
        "saves": method.artifact,
    }


def markdown_table() -> str:
    """What README and documentation show: `fairtune methods --markdown` prints it."""
    lines = ["| method | what is trained | trainable parameters | default rate | paper |", "|---|---|---|---|---|"]
    for method in METHODS.values():
        rate = "–" if method.learning_rate is None else f"{method.learning_rate:g}"
        formula = f"`{method.formula}`" if method.formula else "depends on the type"
        lines.append(f"| `{method.name}` | {method.summary} | {formula} | {rate} | {method.paper or '–'} |")
    return "\n".join(lines) + "\n"


def markdown_pages() -> str:
    """Words of the formulas, and a section a method: options, default rate and why, limits. For docs/methods.md."""
    words = "".join(f"* `{word}`: {meaning}\n" for word, meaning in FORMULA_WORDS.items())
    sections = "\n".join(_section(method) for method in METHODS.values())
    return f"## Words of the formulas\n\n{words}\nEvery other word is an option.\n\n{sections}"


def _section(method: Method) -> str:
    facts = [
        f"Trained: {method.summary}.",
        f"Count: `{method.formula}`." if method.formula else "Count: depends on the type.",
        _rate(method),
        f"Runs on {', '.join(method.devices)} in {', '.join(method.precisions)} (run on: cpu).",
    ]
    for about, text in (
        ("Not elsewhere", method.device_reason),
        ("The first outputs are not the base's", method.starts_elsewhere),
        ("No gradient checkpointing", method.no_checkpointing),
    ):
        facts += [f"{about}: {text}."] if text else []
    options = [
        f"* `{name}`{_default(field)}" + (f": {field.description}" if field.description else "")
        for name, field in method.options.model_fields.items()
    ]
    paper = f" ({method.paper})" if method.paper else ""
    return "\n".join([f"## `{method.name}`{paper}", "", *facts, "", *options, *([""] if options else [])])


def _rate(method: Method) -> str:
    if method.learning_rate_reason is None:
        return "Nothing is trained, so there is no learning rate."
    rate = "of its own none" if method.learning_rate is None else f"{method.learning_rate:g}"
    return f"Default learning rate: {rate}; {method.learning_rate_reason}."


def _default(field: Any) -> str:
    if field.is_required():
        return " (required)"
    return "" if field.default is None else f" ({field.default})"
