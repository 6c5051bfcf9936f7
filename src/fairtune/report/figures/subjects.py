"""What a benchmark of several tasks is made of: the score of each task, by method."""

from __future__ import annotations

from functools import partial

import numpy as np

from fairtune.errors import RecordError
from fairtune.evaluate.metrics import Metric
from fairtune.records import read_lines
from fairtune.report.collect import Report
from fairtune.report.figures.cast import Method, is_number, left_out, methods_of, missing, plain, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.heat import COLUMNS, ROWS, Heat, draw_heat
from fairtune.report.figures.uplift import numbered, titled
from fairtune.report.names import format_score
from fairtune.report.tables import Entry

_FEWEST = 3


def subjects(report: Report) -> list[Figure]:
    """Of each benchmark with three tasks or more."""
    heats: list[tuple[str, Heat, str]] = []
    for name, metric in report.known.items():
        if metric.needs == "benchmark" and metric.statistics:
            heats += _heats(report, name, metric)
    return [
        Figure(
            name=numbered("subjects", place),
            title=titled(f"Tasks of {plain(name)}", place, len(heats)),
            caption=caption,
            alt=shortened([_said(heat, row) for row in range(len(heat.rows))]),
            draw=partial(draw_heat, heat),
        )
        for place, (name, heat, caption) in enumerate(heats)
    ]


def _heats(report: Report, name: str, metric: Metric) -> list[tuple[str, Heat, str]]:
    found = {method.cell: _means(method, name, metric) for method in methods_of(report)}
    methods = [method for method in methods_of(report) if found[method.cell]]
    tasks = list(dict.fromkeys(task for scores in found.values() for task in scores))
    if len(tasks) < _FEWEST:
        return []
    absent = [each.name for each in methods_of(report) if each.finished and each not in methods]
    few = f" Only the first {ROWS} of {len(tasks)} tasks are shown." if len(tasks) > ROWS else ""
    caption = (
        f"Each cell is the {plain(name)} of one task of the benchmark, as a mean over the seeds of a method; darker is "
        f"higher. A single task has few items: differences between cells of a row are not tested.{few}"
        f"{left_out(methods_of(report))}{missing(absent, 'no items to read')}"
    )
    heats = []
    for first in range(0, len(methods), COLUMNS):
        group = methods[first : first + COLUMNS]
        values = tuple(tuple(found[method.cell].get(task) for method in group) for task in tasks[:ROWS])
        columns = tuple(method.name for method in group)
        if any(is_number(value) for row in values for value in row):
            heats.append((name, Heat(plain(name), tuple(map(plain, tasks[:ROWS])), columns, values), caption))
    return heats


def _means(method: Method, name: str, metric: Metric) -> dict[str, float]:
    """By task, over the seeds that have it."""
    runs = [_by_task(entry, name, metric) for entry, _ in method.finished]
    tasks = list(dict.fromkeys(task for run in runs for task in run))
    return {task: float(np.mean([run[task] for run in runs if task in run])) for task in tasks}


def _by_task(entry: Entry, name: str, metric: Metric) -> dict[str, float]:
    """Nothing where the items cannot be read: the caption names the method."""
    sums: dict[str, list[list[float]]] = {}
    try:
        for line in read_lines(entry.folder.examples(name)):
            task, _, _ = str(line["id"]).rpartition("/")
            sums.setdefault(task, []).append([float(line["scores"][key]) for key in metric.statistics])
    except (RecordError, KeyError, TypeError, ValueError):
        return {}
    scores = {task: float(metric.aggregate(np.array(items).sum(axis=0))) for task, items in sums.items() if task}
    return {task: score for task, score in scores.items() if is_number(score)}


def _said(heat: Heat, row: int) -> str:
    pairs = zip(heat.columns, heat.values[row], strict=True)
    told = ", ".join(f"{name} {format_score(value)}" for name, value in pairs if value is not None)
    return f"{heat.rows[row]}: {told}."
