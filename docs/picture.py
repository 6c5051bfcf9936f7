"""Draws the README's picture from a finished study: the report as the terminal shows it.

    .venv/bin/python docs/picture.py studies/demo.yaml runs docs/demo.svg

Turn the SVG into docs/demo.png with any browser or rsvg-convert.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console

from fairtune.execute import read_request, state_of
from fairtune.report import Entry, collect, print_report

study, runs, target = sys.argv[1:]
request = read_request(Path(study))
states = [state_of(spec, Path(runs)) for spec in request.specs]
report = collect(
    request.loaded.study.name, [Entry(state.spec, state.folder, state.record, state.problem) for state in states]
)
console = Console(record=True, width=150, file=Path("/dev/null").open("w"))  # noqa: SIM115
print_report(report, console)
svg = console.export_svg(title=f"fairtune report {study}")
# No font from elsewhere: a picture must not fetch anything. rich lays out 12.2 pixels a character, as DejaVu Sans Mono
# has at this size.
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
svg = svg.replace("Fira Code", "DejaVu Sans Mono").replace("font-size: 20px", "font-size: 20.264px")
Path(target).write_text(svg, encoding="utf-8")
