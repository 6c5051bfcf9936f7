"""The command line: parse, call, print; nothing else.

Exit codes: 0 all runs ok · 1 some run did not succeed · 2 the request was wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fairtune import __version__
from fairtune.cli.compare import compare
from fairtune.cli.data import data
from fairtune.cli.options import RUNS, AsJson, RunsFolder, StudyFile, errors, out
from fairtune.cli.plan import plan
from fairtune.cli.report import report, show_report
from fairtune.cli.scoring import evaluate
from fairtune.errors import FairtuneError, SpecError

app = typer.Typer(
    help="Find out which fine-tune of a language model is really better, on the hardware you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
app.command("plan")(plan)
app.command("eval")(evaluate)
app.command("report")(report)
app.command("compare")(compare)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits."""
    try:
        code = app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except FairtuneError as error:
        errors().print(Text(f"fairtune: {error}", style="red"), soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "show"):  # click's own errors can show themselves
            raise
        error.show()
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairtune {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find out which fine-tune of a language model is really better, on the hardware you have."""


@app.command()
def run(
    study: StudyFile,
    runs: RunsFolder = RUNS,
    repeat: Annotated[bool, typer.Option(help="Also repeat runs that diverged.")] = False,
    force: Annotated[bool, typer.Option(help="Also start runs that are predicted not to fit.")] = False,
) -> int:
    """Run what is missing of a study, and print its report."""
    from fairtune.execute import LiveWatcher, PlainWatcher, read_request, run_study

    request = read_request(study)
    console = errors()
    with LiveWatcher(console) if console.is_terminal else PlainWatcher(console) as watcher:
        try:
            run_study(request, runs, watcher, repeat, force)
        except KeyboardInterrupt:
            watcher.say("stopped; what is finished is kept, and the same command goes on from there")
            return 1
    return show_report(request, runs, study)


@app.command()
def status(study: StudyFile, runs: RunsFolder = RUNS, as_json: AsJson = False) -> int:
    """Show what is done, running, failed, and why."""
    from fairtune.execute import judge_states, read_request, resolve, run_name, state_of

    found = resolve(read_request(study), runs)
    rows = []
    for state in (*found.trials, *(state_of(spec, runs) for spec in found.request.specs)):
        spec = state.spec
        rows.append({"run_id": spec.run_id, "run": run_name(spec), "status": state.status, "detail": state.detail})
    tried = len(found.trials)
    for judged in judge_states(found.request, runs):
        name = judged.pair.id if judged.pair else ""
        rows.append({"run_id": name, "run": judged.name, "status": judged.status, "detail": judged.detail})
    _print_rows(rows, as_json)
    # A trial that failed is one of several, and nothing is missing for it.
    return 0 if all(row["status"] == "ok" for row in rows[tried:]) else 1


@app.command()
def methods(
    as_json: AsJson = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try each on this machine's devices, with a tiny model: a minute.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As the table of the documentation.")] = False,
) -> None:
    """List the ways to adapt a model: what is trained, at what cost, where it runs."""
    from fairtune.report.methods_table import markdown_table, method_rows

    if as_markdown:
        typer.echo(markdown_table(), nl=False)
        return
    rows = method_rows(full=as_json)
    if probe:
        from fairtune.execute import probe_methods

        for row, found in zip(rows, probe_methods(), strict=True):
            row["probed"] = found if as_json else ", ".join(f"{where}: {why or 'runs'}" for where, why in found.items())
    _print_rows(rows, as_json)


@app.command()
def tasks(as_json: AsJson = False) -> None:
    """List the tasks that ship."""
    from fairtune.study import load_task
    from fairtune.tasks import TASKS

    found = [load_task(path) for path in TASKS.values()]
    rows = [
        {
            "name": task.name,
            "version": task.version,
            "train": task.train,
            "test": task.test,
            "metrics": list(task.metrics),
            "prompt": task.prompt.system,
        }
        for task in found
    ]
    _print_rows(rows, as_json)


@app.command()
def devices(
    as_json: AsJson = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine's processor now: a second or two.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As the tables of the documentation.")] = False,
) -> None:
    """List the devices to plan for: their memory, how fast they are, and what is here."""
    from fairtune.report.devices_table import (
        calibration_rows,
        device_json,
        device_rows,
        markdown_page,
        rate_rows,
        with_those_here,
    )

    if as_markdown:
        typer.echo(markdown_page(), nl=False)
        return
    from fairtune.plan.here import devices_here  # with it comes torch
    from fairtune.plan.measure import known_rates, measure_cpu

    rates = measure_cpu(again=True) if measure else known_rates()
    here = devices_here(rates)
    found = with_those_here(here)
    if as_json:
        _print_rows(device_json(found, here, rates.as_json() if rates else None), as_json)
    else:
        _print_rows(device_rows(found, here), as_json)
        _say_of_calibration(calibration_rows(found))
        _say_of_rates(rates, rate_rows(rates.as_json()) if rates and measure else [])


def _say_of_calibration(rows: list[dict[str, Any]]) -> None:
    if rows:
        out().print("\nLearned from runs on this machine, and used in plans:")
        _print_rows(rows, as_json=False)


def _say_of_rates(rates: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        out().print()
        _print_rows(rows, as_json=False)
    if rates is None:
        said = "This processor was not measured yet: `fairtune devices --measure` takes a second or two."
    elif not rates.is_steady:
        said = "Others kept this machine busy: the processor is faster than that, and nothing was remembered."
    else:
        return
    errors().print(Text(f"Note: {said}"), soft_wrap=True)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of the terminal.")] = None,
) -> None:
    """Write the JSON schema of a study file, for editors."""
    from fairtune.execute import vocabulary
    from fairtune.records import write_atomically
    from fairtune.study import study_schema

    text = json.dumps(study_schema(vocabulary()), ensure_ascii=False, indent=1) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(output, text)


@app.command()
def init(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Rows (jsonl, json, csv, tsv, parquet), text, a folder, hub:OWNER/NAME."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The study to write.")] = Path("study.yaml"),
    columns: Annotated[
        str, typer.Option(metavar="OURS=YOURS,…", help="Which column is which: prompt=Question,completion=Answer.")
    ] = "",
    force: Annotated[bool, typer.Option(help="Overwrite the study if it is there.")] = False,
) -> None:
    """Look at your data and write a commented study."""
    from fairtune.data.starter import starter_study
    from fairtune.records import write_atomically

    pairs = [pair.partition("=") for pair in columns.split(",") if pair.strip()]
    if any(not (ours.strip() and yours.strip()) for ours, _, yours in pairs):
        raise SpecError(f"--columns {columns}: write pairs such as prompt=Question,completion=Answer")
    found = starter_study(data, output, {ours.strip(): yours.strip() for ours, _, yours in pairs})
    if output.exists() and not force:
        raise SpecError(f"{output} exists; choose another name with --output, or overwrite it with --force")
    write_atomically(output, found.text)
    for remark in found.remarks:
        errors().print(Text(f"Note: {remark}"), soft_wrap=True)
    typer.echo(f"Wrote {output}. Look it over, then: fairtune run {output}")


@app.command()
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or the beginning of a run id.")],
    to: Annotated[str, typer.Option("--to", help="adapter, merged or gguf.")],
    type_name: Annotated[
        str | None, typer.Option("--type", help="Number format of a gguf file: f16 (the default) or q8_0.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="RUN/export/FORM unless given.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an export that is there.")] = False,
    runs: RunsFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Write a run as adapter, merged model or GGUF file, and compare it with the run."""
    from fairtune.execute.find import asked_for, find_run, finished

    folder = find_run(run, runs)
    asked = asked_for(folder, to, type_name, output, force)
    finished(folder)
    from fairtune.execute.export import export_run  # with it comes torch; a wrong request is told before
    from fairtune.report.parity import parity_lines

    parity = export_run(folder, asked, lambda text: errors().print(Text(text), soft_wrap=True))
    if as_json:
        typer.echo(parity.model_dump_json(indent=1))
    else:
        typer.echo("\n".join(parity_lines(parity, asked.output)))


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for heading in rows[0] if rows else ():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    out().print(table)


def _text(value: Any) -> Text:
    if isinstance(value, list):
        return Text(", ".join(str(item) for item in value))
    return Text("–" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
