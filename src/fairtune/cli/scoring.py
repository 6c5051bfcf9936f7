"""``fairtune eval``: any model, adapter or run, scored without training."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairtune.cli.moving import MovingLine
from fairtune.cli.options import out
from fairtune.errors import SpecError, suggest
from fairtune.units import format_seconds


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="As in a study: hub id, ./folder, file; an adapter's folder; or a run, by folder or id.",
        ),
    ],
    task: Annotated[
        list[str],
        typer.Option("--task", help="A benchmark of lm-eval, a shipped task, or a file of either. More than once."),
    ],
    adapter: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Scored over the model too, which is loaded once. More than once."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each task, chosen by hash of content.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, help="Examples before each question of a benchmark.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 (the default), bf16, … A run has its own.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    runs: Annotated[
        Path, typer.Option("--runs", metavar="DIR", envvar="FAIRTUNE_RUNS", help="Where run folders are kept.")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score any model, folder, adapter or run on benchmarks and tasks, without training."""
    _require_known(precision)
    from fairtune.execute.scoring import score_models
    from fairtune.execute.subject import Asked

    errors = Console(stderr=True)
    asked = Asked(
        model=model,
        tasks=tuple(task),
        adapters=tuple(adapter or ()),
        limit=limit,
        num_fewshot=num_fewshot,
        precision=precision,  # type: ignore[arg-type]  # looked at above
        device=device,
    )
    with Watched(errors) as watched:
        found = score_models(asked, runs, watched.say, watched.tell)
    if as_json:
        typer.echo(json.dumps(_document(found), ensure_ascii=False, indent=1))
    else:
        _print(found)


def _require_known(precision: str | None) -> None:
    from fairtune.study import Precision

    if precision is not None and precision not in get_args(Precision):
        raise SpecError(f"--precision {precision}: unknown; {suggest(precision, get_args(Precision))}")


class Watched(MovingLine):
    """What is going on."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began = time.monotonic()

    def tell(self, progress: Any) -> None:
        """How far a phase is."""
        from fairtune.execute.display import describe

        now = time.monotonic()
        if progress.step == 0:
            self._began = now
        self.show("  ".join(part for part in describe(progress, now - self._began) if part))


def _document(found: Any) -> dict[str, Any]:
    """``{scores: [{model, metric, value, low, high, …}], benchmarks: [{model, name, items, …}]}``."""
    return {
        "scores": [{"model": line.model, "metric": line.metric, **line.value.model_dump()} for line in found.lines],
        "benchmarks": [{"model": model, **note.model_dump()} for model, note in found.notes],
    }


def _print(found: Any) -> None:
    from fairtune.report.names import format_score

    table = Table(box=None, pad_edge=False)
    for heading in ("model", "score", "value", "95 %", "items", "unit"):
        table.add_column(heading, overflow="fold")
    for line in found.lines:
        value = line.value
        ends = "[?]" if value.low is None else f"[{format_score(value.low)}, {format_score(value.high)}]"
        cells = (line.model, line.metric, format_score(value.value), ends, str(value.n), value.unit)
        table.add_row(*map(Text, cells))
    # A pipe or a file has no width; tables are then as wide as they need to be.
    console = out()
    console.print(table)
    for note in _remarks(found):
        console.print(Text(note), soft_wrap=True)


def _remarks(found: Any) -> list[str]:
    cut = [
        f"{model}: {note.cut_requests} of {note.requests} requests of {note.name} were longer than it reads, and lost "
        f"{note.cut_tokens} tokens of their beginning."
        for model, note in found.notes
        if note.cut_requests
    ]
    kept = [
        f"{model}: {note.name} came from the cache; answering it took {format_seconds(note.seconds)} when it was done."
        for model, note in found.notes
        if note.cached
    ]
    reasons = {line.value.reason for line in found.lines if line.value.reason}
    return [*cut, *kept, *(f"[?]: no interval, since {reason}." for reason in sorted(reasons))]
