"""The HTML report of a study, written beside its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_page(request: Any, report: Any, study: Path, path: Path) -> None:
    """Writes the page, with what only the request knows: the study file, the prompts, the size of the data.

    Raises:
        BudgetError: the file cannot be written.
    """
    from fairtune.records import write_atomically
    from fairtune.report.html import render

    text = render(
        report,
        study_text=study.read_text(encoding="utf-8"),
        study_file=str(study),
        prompts=_prompts(request.splits.test),
        parts={name: len(examples) for name, examples in request.splits.parts.items()},
    )
    write_atomically(path, text)


def _prompts(examples: Any) -> dict[str, str]:
    """What was asked, by id; the task's own instruction is the same for all, and left out."""
    prompts: dict[str, str] = {}
    for example in examples:
        turns = example.prompt[1:] if example.task_system else example.prompt
        if turns:
            prompts[example.id] = "\n".join(turn.content for turn in turns)
    return prompts
