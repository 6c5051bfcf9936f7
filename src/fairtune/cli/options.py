"""What several commands take, and where they write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's YAML file.")]
RunsFolder = Annotated[
    Path, typer.Option("--runs", metavar="DIR", envvar="FAIRTUNE_RUNS", help="Where run folders are kept.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
RUNS = Path("runs")
WIDE = 200
"""Characters of a line where there is no terminal to say."""


def out() -> Console:
    """Standard output. A pipe or a file has no width; tables are then as wide as they need to be."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def errors() -> Console:
    """Standard error: what goes on, and what went wrong."""
    return Console(stderr=True)
