"""``fairtune data``: look at rows and tokens before anything is trained on them."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

data = typer.Typer(
    help="Check your data: leaks, templates and loss masks, tokens.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@data.callback()
def _top() -> None:
    """Check your data: leaks, templates and loss masks, tokens."""


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

    found = check_data(open_data(place), against or [])
    if as_json:
        typer.echo(json.dumps(found.plain(), ensure_ascii=False, indent=1))
    else:
        print_leaks(found, Console() if sys.stdout.isatty() else Console(width=160))
    return 1 if leaked(found) else 0
