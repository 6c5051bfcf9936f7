"""``fairtune data``: look at rows and tokens before anything is trained on them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

data = typer.Typer(
    help="Check your data: leaks, templates and loss masks, tokens.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
