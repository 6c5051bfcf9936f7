"""``fairtune data``: look at rows and tokens before anything is trained on them."""

from __future__ import annotations

import typer

data = typer.Typer(
    help="Check your data: leaks, templates and loss masks, tokens.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
