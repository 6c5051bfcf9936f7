"""``fairtune report``: a study's tables, pages, files and figures."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from fairtune.cli.options import RUNS, WIDE, RunsFolder, StudyFile, errors, out
from fairtune.errors import SpecError, suggest

_TABLE, _PAGE = "table", "html"


def report(
    study: StudyFile,
    runs: RunsFolder = RUNS,
    format: Annotated[  # noqa: A002 - the option's name is a contract
        str, typer.Option("--format", help="table, html, md, csv, json, latex or parquet.")
    ] = _TABLE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Instead of the terminal; of html, of RUNS/STUDY/report.html."
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also write every figure there, as SVG and PNG.")
    ] = None,
) -> int:
    """Show what a study found: scores with intervals, uplift over the base, cost; as a table, a page or a file."""
    from fairtune.execute import read_request

    _require_format(format, output)
    request = read_request(study)
    found = collect_report(request, runs)
    if format == _PAGE:
        write_page(request, found, study, output or page_of(found, runs))
    else:
        _write(found, format, output)
    if figures is not None:
        _write_figures(found, figures)
    return 0 if found.ok else 1


def _require_format(name: str, output: Path | None) -> None:
    from fairtune.report import FORMATS

    if name not in (*FORMATS, _TABLE):
        raise SpecError(f"--format {name}: unknown; {suggest(name, [*FORMATS, _TABLE])}")
    if name != _TABLE and FORMATS[name].binary and output is None and sys.stdout.isatty():
        raise SpecError(f"--format {name} is no text for a terminal; name a file with --output FILE")


def collect_report(request: Any, runs: Path) -> Any:
    """Everything there is of a study's runs, compared."""
    from fairtune.execute import judge_states, resolve, state_of
    from fairtune.report import Entry, Judged, collect

    found = resolve(request, runs)
    states = [state_of(spec, runs) for spec in found.request.specs]
    entries, trials = (
        [Entry(state.spec, state.folder, state.record, state.problem) for state in group]
        for group in (states, found.trials)
    )
    judged = [
        Judged(state.run, state.against, state.judge.model.name, state.record, state.problem)
        for state in judge_states(found.request, runs)
    ]
    study = request.loaded.study
    return collect(study.name, entries, judged, study.margins, trials)


def show_report(request: Any, runs: Path, study: Path) -> int:
    """The tables of a study that was run, and its files beside its runs."""
    from fairtune.records import write_atomically
    from fairtune.report import FORMATS, print_report

    found = collect_report(request, runs)
    print_report(found, out())
    text = runs / found.study / "report.md"
    write_atomically(text, FORMATS["md"](found))
    typer.echo(f"Report: {text}")
    write_page(request, found, study, page_of(found, runs))
    return 0 if found.ok else 1


def page_of(found: Any, runs: Path) -> Path:
    """Where a study's page is."""
    return runs / str(found.study) / "report.html"


def write_page(request: Any, found: Any, study: Path, path: Path) -> None:
    """Writes the page, with what only the request knows: the study file, the prompts, the size of the data.

    Raises:
        BudgetError: the file cannot be written.
    """
    from fairtune.records import write_atomically
    from fairtune.report.html import render

    text = render(
        found,
        study_text=study.read_text(encoding="utf-8"),
        study_file=str(study),
        prompts=_prompts(request.splits.test),
        parts={name: len(examples) for name, examples in request.splits.parts.items()},
    )
    write_atomically(path, text)
    typer.echo(f"Report: {path}")


def _prompts(examples: Any) -> dict[str, str]:
    """What was asked, by id; the task's own instruction is the same for all, and left out."""
    prompts: dict[str, str] = {}
    for example in examples:
        turns = example.prompt[1:] if example.task_system else example.prompt
        if turns:
            prompts[example.id] = "\n".join(turn.content for turn in turns)
    return prompts


def _write(found: Any, name: str, output: Path | None) -> None:
    from fairtune.records import write_atomically
    from fairtune.report import FORMATS, print_report

    if name == _TABLE and output is None:
        print_report(found, out())
        return
    content = _as_text(found) if name == _TABLE else FORMATS[name](found)
    if output is not None:
        write_atomically(output, content)
        errors().print(Text(f"Wrote {output}"), soft_wrap=True)
    elif isinstance(content, bytes):
        typer.get_binary_stream("stdout").write(content)
    else:
        typer.echo(content, nl=False)


def _as_text(found: Any) -> str:
    from fairtune.report import print_report

    page = io.StringIO()
    print_report(found, Console(file=page, width=WIDE))
    return page.getvalue()


def _write_figures(found: Any, folder: Path) -> None:
    from fairtune.report.figures import figures, save

    drawn = figures(found)
    written = save(drawn, folder)
    names = ", ".join(figure.name for figure in drawn) or "there is nothing to draw yet"
    errors().print(Text(f"Wrote {len(written)} files to {folder}: {names}"), soft_wrap=True)
