"""Live progress: one line a run. A table that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fairtune.execute.progress import Progress
from fairtune.records import RunRecord, kept_loss
from fairtune.study import RunSpec
from fairtune.units import format_seconds

_PLAIN_EVERY_SECONDS = 15.0
_COLOURS = {"ok": "green", "interrupted": "yellow", "waiting": "dim"}


def run_name(spec: RunSpec) -> str:
    """What a run's line begins with."""
    if spec.trial is not None:
        return f"{spec.cell} · {spec.trial.told}"
    return f"{spec.cell} · seed {spec.seed}" if spec.method.trains else spec.cell


def trial_outcome(record: RunRecord) -> str:
    """What a trial is judged by, or why it ended early; nothing for any other run."""
    if record.spec.trial is None or record.selection is None:
        return ""
    loss = kept_loss(record.selection)
    if record.selection.pruned is not None:
        return record.selection.pruned.told
    return "" if loss is None else f"validation loss {loss:.4g}"


def describe(progress: Progress | None, seconds: float) -> list[str]:
    """Phase, step, loss, tokens per second, time left."""
    if progress is None or progress.phase is None:
        return ["starting", "", "", "", format_seconds(seconds)]
    steps = f"{progress.step}/{progress.steps}" if progress.steps else ""
    loss = f"{progress.loss:.3f}" if progress.loss is not None else ""
    speed = f"{progress.tokens_per_second:.0f}" if progress.tokens_per_second else ""
    left = f"{format_seconds(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    return [progress.phase, steps, loss, speed, left]


class LiveWatcher:
    """A table on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=True)

    def __enter__(self) -> LiveWatcher:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """A line above the table."""
        self._console.print(Text(text, style="dim"))

    def begin(self, specs: Sequence[RunSpec], done: dict[str, RunRecord], total: int) -> None:
        """All runs, in order."""
        for spec in specs:
            self.join(spec, done.get(spec.run_id))

    def join(self, spec: RunSpec, record: RunRecord | None) -> None:
        """A line more, unless it is there."""
        self._names[spec.run_id] = run_name(spec)
        self._rows.setdefault(spec.run_id, [record.status if record else "waiting", "", "", "", ""])

    def moved(self, spec: RunSpec, progress: Progress | None, seconds: float) -> None:
        """The run's line changes."""
        self._rows[spec.run_id] = describe(progress, seconds)

    def ended(self, spec: RunSpec, record: RunRecord) -> None:
        """The run's line is done."""
        seconds = sum(cost.seconds for cost in record.phases.values())
        self._rows[spec.run_id] = [record.status, "", "", "", format_seconds(seconds)]
        if record.error:
            self.say(f"{run_name(spec)}: {record.status}: {record.error.message}")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("run", "phase", "step", "loss", "tokens/s", "time"):
            table.add_column(heading, justify="left" if heading in ("run", "phase") else "right", no_wrap=True)
        for run_id, row in self._rows.items():
            colour = _COLOURS.get(row[0], "red" if row[0] in _FAILED else "cyan")
            table.add_row(Text(self._names[run_id]), Text(row[0], style=colour), *row[1:])
        return table


_FAILED = {"does_not_fit", "out_of_memory", "diverged", "timeout", "failed"}


class PlainWatcher:
    """A line whenever a phase begins or ends, and every now and then within one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, str | None] = ("", None)
        self._told = 0.0
        self._place: dict[str, int] = {}
        self._total = 0

    def __enter__(self) -> PlainWatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def say(self, text: str) -> None:
        """The text."""
        self._console.print(Text(text), soft_wrap=True)

    def begin(self, specs: Sequence[RunSpec], done: dict[str, RunRecord], total: int) -> None:
        """How many runs there are, and how many are left."""
        self._place = {spec.run_id: index for index, spec in enumerate(specs, start=1)}
        self._total = total
        self.say(f"{total} runs, {len(done)} done before")

    def join(self, spec: RunSpec, record: RunRecord | None) -> None:
        """Its place is behind those that are known."""
        self._place.setdefault(spec.run_id, len(self._place) + 1)

    def _name(self, spec: RunSpec) -> str:
        return f"[{self._place[spec.run_id]}/{self._total}] {run_name(spec)}"

    def moved(self, spec: RunSpec, progress: Progress | None, seconds: float) -> None:
        """A new phase, or time enough since the last line."""
        key = (spec.run_id, progress.phase if progress else None)
        if key == self._last and time.monotonic() - self._told < _PLAIN_EVERY_SECONDS:
            return
        self._last, self._told = key, time.monotonic()
        phase, steps, loss, speed, left = describe(progress, seconds)
        parts = [phase, steps, f"loss {loss}" if loss else "", f"{speed} tokens/s" if speed else "", left]
        self.say(f"{self._name(spec)}: {', '.join(part for part in parts if part)}")

    def ended(self, spec: RunSpec, record: RunRecord) -> None:
        """How the run ended."""
        seconds = format_seconds(sum(cost.seconds for cost in record.phases.values()))
        told = record.error.message if record.error else trial_outcome(record)
        why = f": {told}" if told else ""
        self.say(f"{self._name(spec)}: {record.status} after {seconds}{why}")
