"""The chances that methods had to find good options: trials, what was chosen, and where chances were unequal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from fairtune.records import kept_loss
from fairtune.report.names import DASH, method_name
from fairtune.report.tables import Entry
from fairtune.report.text_table import TextTable
from fairtune.study import Chances, Range, RunSpec
from fairtune.study.tune import shown_value, shown_values

TRIAL_HEADINGS = ("method", "trial", "options", "validation loss ↓", "epochs", "outcome")
_HOW = (
    "Tuned: options were chosen by validation loss alone, in trials with the study's first seed, of which no test item "
    "was scored; then every seed was trained with what was chosen, and scored once."
)
# Of a range, as a share of its width: nearer is at its end.
_NEAR = 0.05
_FEWEST = 3


def chances_notes(entries: Sequence[Entry]) -> list[str]:
    """How the options of a study's final runs were found; empty where nothing was tuned.

    Args:
        entries: the final runs of the study, not its trials.
    """
    cells = {spec.cell: spec for entry in entries if (spec := entry.spec).method.trains}
    specs = list(cells.values())
    if not any(spec.tuned for spec in specs):
        return []
    names = [method_name(spec, specs) for spec in specs]
    told = [f"{name}: {_told(spec.tuned)}" for name, spec in zip(names, specs, strict=True)]
    edges = [
        f"{name}: {edge}" for name, spec in zip(names, specs, strict=True) if spec.tuned for edge in _edges(spec.tuned)
    ]
    return [_HOW, *told, *_unequal_note(names, specs), *edges]


def unequal(a_spec: RunSpec, b_spec: RunSpec) -> str | None:
    """How the chances of two runs differed: ``8 trials against 3``, ``8 trials against none``; None where equal.

    The untouched model has nothing to choose, so nothing is unequal to it.
    """
    if not (a_spec.method.trains and b_spec.method.trains):
        return None
    ours, theirs = _trials(a_spec), _trials(b_spec)
    if ours == theirs:
        return None
    return f"{_counted(ours)} against {theirs or 'none'}"


def trials_table(trials: Sequence[Entry], entries: Sequence[Entry]) -> TextTable:
    """A row a trial; without rows where nothing was tuned.

    Args:
        entries: the final runs, which say what was chosen.
    """
    chosen = {run: entry.spec.tuned.chosen for entry in entries if entry.spec.tuned for run in entry.spec.tuned.runs}
    specs = [entry.spec for entry in trials]
    rows = tuple(tuple((cell,) for cell in _row(entry, specs, chosen.get(entry.spec.run_id))) for entry in trials)
    return TextTable("Trials", TRIAL_HEADINGS, rows)


def _row(entry: Entry, specs: Sequence[RunSpec], chosen: dict[str, Any] | None) -> tuple[str, ...]:
    trial = entry.spec.trial
    found = entry.record.selection if entry.record else None
    loss = kept_loss(found) if found else None
    values = trial.values if trial else {}
    return (
        method_name(entry.spec, specs),
        f"{trial.number} of {trial.of}" if trial else DASH,
        shown_values(values),
        DASH if loss is None else f"{loss:.4g}",
        str(len(found.validation_losses)) if found else DASH,
        _outcome(entry, values == chosen),
    )


def _outcome(entry: Entry, chosen: bool) -> str:
    found = entry.record.selection if entry.record else None
    if entry.status != "ok":
        return f"{entry.status}: {entry.reason}" if entry.reason else entry.status
    if found and found.pruned:
        return f"pruned: above {found.pruned.limit:.4g} after epoch {found.pruned.epoch}"
    return "chosen" if chosen else "done"


def _told(found: Chances | None) -> str:
    """``8 trials (tpe), 3 of them pruned, 1 failed; chosen: rank=8, at a validation loss of 1.23``."""
    if found is None:
        return "no trials; its options are those of the study."
    ends = [f"{count} {what}" for count, what in ((found.pruned, "pruned"), (found.failed, "failed")) if count]
    fewer = f" of {found.asked} asked, since it has no more combinations" if found.due < found.asked else ""
    made = f"{_counted(found.trials)} ({found.sampler}){fewer}{', ' if ends else ''}{', '.join(ends)}"
    if found.chosen is None:
        return f"{made}; nothing is chosen: {found.open}."
    loss = "" if found.validation_loss is None else f", at a validation loss of {found.validation_loss:.4g}"
    return f"{made}; chosen: {shown_values(found.chosen)}{loss}."


def _unequal_note(names: Sequence[str], specs: Sequence[RunSpec]) -> list[str]:
    counts = [_trials(spec) for spec in specs]
    if len(set(counts)) < 2:
        return []
    told = ", ".join(f"{name} {_counted(count)}" for name, count in zip(names, counts, strict=True))
    return [f"Unequal chances: {told}. A method gains by trials alone; read comparisons with that in mind."]


def _edges(found: Chances) -> Iterator[str]:
    """Chosen values beyond which nobody looked."""
    for key, value in (found.chosen or {}).items():
        end = _end(value, found.space[key])
        if end is not None:
            yield (
                f"{key}={shown_value(value)} is at the {end} of what was tried, so a better value may lie beyond; "
                f"widen `tune.{key}` to know."
            )


def _end(value: Any, among: Range | tuple[Any, ...]) -> str | None:
    """``lower end``, ``upper end``, or None. Zero is an end of its own, and of two values each is one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
        return None
    if isinstance(among, Range):
        scaled = math.log if among.log else float
        place = (scaled(value) - scaled(among.low)) / (scaled(among.high) - scaled(among.low))
        return "lower end" if place <= _NEAR else "upper end" if place >= 1 - _NEAR else None
    numbers = [one for one in among if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) < _FEWEST:
        return None
    return "lower end" if value == min(numbers) else "upper end" if value == max(numbers) else None


def _trials(spec: RunSpec) -> int:
    return spec.tuned.trials if spec.tuned else 0


def _counted(trials: int) -> str:
    return f"{trials or 'no'} {'trial' if trials == 1 else 'trials'}"
