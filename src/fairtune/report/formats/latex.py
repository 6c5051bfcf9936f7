"""LaTeX: tables for a paper, with booktabs and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial

from fairtune.records import Phase
from fairtune.report.collect import Report, Row
from fairtune.report.comparisons import AGAINST_BASE, Comparison
from fairtune.report.figures.cast import Method, is_number, methods_of, plain
from fairtune.report.figures.uplift import is_of_these_runs
from fairtune.report.names import format_score
from fairtune.report.predicted import largest, peak_of
from fairtune.units import format_bytes, format_count, format_seconds

_WIDE = 4
"""Metrics beside each other; more are another table."""
_HEAD = r"""% In the preamble: \usepackage{booktabs}. With \usepackage{amssymb} triangles are filled, without it hollow.
\providecommand{\blacktriangle}{\bigtriangleup}
\providecommand{\blacktriangledown}{\bigtriangledown}
"""
_MARKS = {"better": r"\blacktriangle", "worse": r"\blacktriangledown", "higher": r"\uparrow", "lower": r"\downarrow"}
_MEANINGS = {
    "better": r"$\blacktriangle$ better",
    "worse": r"$\blacktriangledown$ worse",
    "higher": r"$\uparrow$ higher where neither is better",
    "lower": r"$\downarrow$ lower where neither is better",
}
_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "{}$&#_%"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a line it would be an argument of the line before
    "]": "{]}",
    "*": "{*}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "△": r"$\bigtriangleup$",
    "▽": r"$\bigtriangledown$",
    "Δ": r"$\Delta$",
    "δ": r"$\delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    "†": r"$\dagger$",
    "∞": r"$\infty$",
}
_ARROWS = {True: r" $\uparrow$", False: r" $\downarrow$", None: ""}
_MEASURED: tuple[Phase, ...] = ("train", "evaluate", "generate")


def render(report: Report) -> str:
    """Scores with intervals and marks, four metrics a table; then what the methods cost."""
    groups = [report.metrics[first : first + _WIDE] for first in range(0, len(report.metrics), _WIDE)]
    parts = [_HEAD, *(_scores(report, group, place) for place, group in enumerate(groups)), _cost(report)]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is. Letters beyond ASCII stay: LaTeX reads UTF-8."""
    return "".join(_SIGNS.get(sign, sign) for sign in plain(text))


def _scores(report: Report, metrics: Sequence[str], place: int) -> str:
    heads = ["method", *(f"{escaped(name)}{_ARROWS[report.known[name].higher_is_better]}" for name in metrics)]
    rows = [_score_row(report, method, metrics) for method in methods_of(report)]
    label = "scores" if place == 0 else f"scores-{place + 1}"
    return _table(heads, rows, _score_caption(report, metrics), _label(report, label))


def _score_row(report: Report, method: Method, metrics: Sequence[str]) -> str:
    row = report.wholes.get(method.cell)
    name = escaped(method.name)
    if row is None:
        status = escaped(method.entries[0].status.replace("_", " "))
        return rf"{name} & \multicolumn{{{len(metrics)}}}{{l}}{{\emph{{{status}}}}} \\"
    return f"{name} & {' & '.join(_score(report, row, metric) for metric in metrics)} \\\\"


def _score(report: Report, row: Row, name: str) -> str:
    value = row.values.get(name)
    if value is None or not is_number(value.value):
        return "--"
    ends = ""
    if is_number(value.low) and is_number(value.high):
        ends = rf"_{{\,[{_plain(value.low)},\,{_plain(value.high)}]}}"
    found = _comparison(report, row, name)
    return f"${_plain(value.value)}{ends}{_mark(found) if found else ''}$"


def _mark(found: Comparison) -> str:
    """With a 1 where other seeds might not agree."""
    mark = _MARKS.get(found.verdict)
    return f"^{{{mark}{' 1' if is_of_these_runs(found) else ''}}}" if mark else ""


def _plain(value: float | None) -> str:
    """In mathematics, where a hyphen is a minus."""
    shown = format_score(value)
    if "e" not in shown:
        return shown
    mantissa, _, exponent = shown.partition("e")
    return rf"{mantissa}\cdot 10^{{{int(exponent)}}}"


def _comparison(report: Report, row: Row, name: str) -> Comparison | None:
    """A verdict belongs to a method with all its seeds."""
    wanted = (AGAINST_BASE, name, row.spec.cell)
    return next((each for each in report.comparisons if (each.family, each.metric, each.a) == wanted), None)


def _score_caption(report: Report, metrics: Sequence[str]) -> str:
    values = {name: [row.values[name] for row in report.rows if name in row.values] for name in metrics}
    items = {name: sorted({value.n for value in found}) for name, found in values.items() if found}
    seeds = sorted({len(method.finished) for method in methods_of(report) if method.place is not None} - {0})
    made = _made({name: [v.interval for v in found if v.low is not None] for name, found in values.items()})
    how = f" ({escaped(made)})" if made else ""
    scores = f"Scores of \\emph{{{escaped(report.study)}}}: {_seeds(seeds)}, with 95\\,\\% intervals in brackets{how}."
    return f"{scores} Items: {_counted(items)}. {_tested(report, metrics)}".strip()


def _seeds(counts: Sequence[int]) -> str:
    if counts in ([], [0], [1]):
        return "one seed"
    return f"means over {' or '.join(map(str, counts))} seeds"


def _counted(items: dict[str, list[int]]) -> str:
    """Once where all metrics have as many."""
    every = sorted({count for counts in items.values() for count in counts})
    if len(every) == 1:
        return f"{every[0]:,}"
    return ", ".join(f"{escaped(name)} {'/'.join(f'{n:,}' for n in counts)}" for name, counts in items.items())


def _made(intervals: dict[str, list[str]]) -> str:
    """How intervals were made: once where it was the same for all metrics."""
    known = {name: _listed(found) for name, found in intervals.items() if found}
    if len(set(known.values())) <= 1:
        return next(iter(known.values()), "")
    return "; ".join(f"{name}: {how}" for name, how in known.items())


def _tested(report: Report, metrics: Sequence[str]) -> str:
    """Nothing where there is nobody to compare with."""
    found = [each for each in report.comparisons if each.family == AGAINST_BASE and each.metric in metrics]
    if not found:
        return ""
    meanings = ", ".join(meaning for verdict, meaning in _MEANINGS.items() if any(e.verdict == verdict for e in found))
    tests = _listed(each.test for each in found)
    how = "; ".join(part for part in (tests, "p-values adjusted by Holm over all comparisons with it") if part)
    marks = f"{meanings} than the untouched model at 5\\,\\%" if meanings else "No difference was shown at 5\\,\\%"
    alone = (
        " $^1$ Of these very runs: other seeds were not shown to agree." if any(map(is_of_these_runs, found)) else ""
    )
    return f"{marks} ({escaped(how)}).{alone}"


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(text for text in dict.fromkeys(texts) if text)


def _cost(report: Report) -> str:
    heads = ["method", "trainable", "time", "tokens/s", *(f"peak {phase}" for phase in _MEASURED)]
    rows = []
    for method in methods_of(report):
        row = report.wholes.get(method.cell)
        cells = _costs(row) if row else ["--"] * (len(heads) - 1)
        rows.append(f"{escaped(method.name)} & {' & '.join(map(escaped, cells))} \\\\")
    caption = (
        f"What the methods of \\emph{{{escaped(report.study)}}} cost: trainable parameters, time of training and "
        "tokens per second as means over seeds; peak memory of each phase as the largest over seeds."
    )
    return _table(heads, rows, caption, _label(report, "cost"))


def _costs(row: Row) -> list[str]:
    trainable = row.average(lambda record: record.parameters.trainable if record.parameters else None)
    speed = row.average(lambda record: record.throughput.train_tokens_per_second)
    peaks = [largest(row, partial(peak_of, phase=phase)).measured for phase in _MEASURED]
    return [
        format_count(None if trainable is None else round(trainable)),
        format_seconds(row.seconds("train")),
        "–" if speed is None else f"{speed:.0f}",
        *(format_bytes(None if peak is None else round(peak)) for peak in peaks),
    ]


def _label(report: Report, what: str) -> str:
    """Letters, digits and hyphens alone: a label is no text."""
    return f"tab:{re.sub('[^a-zA-Z0-9]+', '-', report.study).strip('-') or 'study'}-{what}"


def _table(heads: Sequence[str], rows: Sequence[str], caption: str, label: str) -> str:
    body = "\n".join(f"    {row}" for row in rows)
    return rf"""\begin{{table}}
  \centering
  \small
  \caption{{{caption}}}
  \label{{{label}}}
  \begin{{tabular}}{{l{"r" * (len(heads) - 1)}}}
    \toprule
    {" & ".join(heads)} \\
    \midrule
{body}
    \bottomrule
  \end{{tabular}}
\end{{table}}
"""
