"""``fairtune compare``: two runs, item by item."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairtune.cli.options import RUNS, AsJson, RunsFolder, out
from fairtune.errors import SpecError, suggest


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A run folder, its record.json, or the beginning of a run id.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The run that A is compared with.")],
    runs: RunsFolder = RUNS,
    match: Annotated[
        str, typer.Option("--match", help="How items are found in each other: hash of the prompt as read, or id.")
    ] = "hash",
    shared: Annotated[
        bool, typer.Option("--shared", help="Compare the items that both have, if each has others.")
    ] = False,
    margin: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="METRIC=LOSS", help="Also test that A loses less than this; may be repeated."),
    ] = None,
    items: Annotated[int, typer.Option("--items", min=0, help="Items to show of those that changed most.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Compare two runs, of one machine or two, on the same items: how large, how sure, and what changed."""
    from fairtune.report.matching import By
    from fairtune.report.two_runs import as_json as document
    from fairtune.report.two_runs import compare_two

    if match not in get_args(By):
        raise SpecError(f"--match {match}: unknown; {suggest(match, get_args(By))}")
    first, second = _entry(a, runs), _entry(b, runs)
    by: By = "id" if match == "id" else "hash"
    found = compare_two(first, second, by, shared, _margins(margin or [], [first, second]))
    if as_json:
        typer.echo(json.dumps(document(found), ensure_ascii=False, indent=1))
    else:
        _print(found, items)


def _entry(text: str, runs: Path) -> Any:
    from fairtune.execute.find import find_run, finished
    from fairtune.records import RunFolder
    from fairtune.report import Entry

    folder = RunFolder(Path(text).parent) if Path(text).is_file() else find_run(text, runs)
    record = finished(folder)
    return Entry(record.spec, folder, record)


def _margins(asked: Sequence[str], entries: Sequence[Any]) -> dict[str, float]:
    known = dict.fromkeys(name for entry in entries for name in entry.spec.scores)
    margins = {}
    for text in asked:
        name, _, number = text.partition("=")
        if name not in known:
            raise SpecError(f"--margin {text}: the runs have no metric '{name}'; {suggest(name, known)}")
        try:
            margins[name] = float(number)
        except ValueError:
            raise SpecError(f"--margin {text}: write a metric and what may be lost, such as {name}=0.5") from None
        if not 0 < margins[name] < math.inf:
            raise SpecError(f"--margin {text}: what may be lost is above 0")
    return margins


def _print(found: Any, items: int) -> None:
    from fairtune.report.two_runs import changed_items, sentences, table_rows

    console = out()
    rows = table_rows(found)
    table = Table(box=None, pad_edge=False)
    for heading in rows[0] if rows else ():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
    console.print()
    for sentence in sentences(found):
        console.print(Text(sentence))
    told, changed = changed_items(found, items)
    console.print(Text(f"\n{told}{'; those that changed most:' if changed else '.'}"))
    for change in changed:
        _print_change(console, change, found.names)


def _print_change(console: Console, change: Any, names: tuple[str, str]) -> None:
    from fairtune.report.names import format_score

    console.print(Text(f"\n  {change.reference!r}  ({change.id})", style="bold"))
    told = (change.a_output, change.a_score), (change.b_output, change.b_score)
    for name, (output, score) in zip(names, told, strict=True):
        shown = "" if output is None else f"  {output!r}"
        console.print(Text(f"    {name}: {format_score(score)}{shown}"))
