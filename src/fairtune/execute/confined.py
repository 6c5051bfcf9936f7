"""Whether programs of a run can be held in a sandbox, asked when a study is read and again when they run. No torch."""

from __future__ import annotations

from fairtune.errors import FairtuneError, Problem
from fairtune.evaluate.metrics import METRICS, metrics_of
from fairtune.evaluate.sandbox import available, confinement
from fairtune.study import LoadedStudy, RunSpec

_ADVICE = (
    "Run the study on a machine that has one, leave out the metrics that run programs, or write `allow_unsafe_code: "
    "true` into the study: programs then have limits of time, memory and file size alone, and may do all that you may"
)


def runs_code(spec: RunSpec) -> bool:
    """Whether a metric of the run is made of answers that are run with their tests."""
    return any(metric.runs_code for metric in metrics_of(spec).values())


def beyond_sandbox(loaded: LoadedStudy) -> list[Problem]:
    """What stands in the way of running programs here; nothing where none is run, or the study takes the risk."""
    if loaded.study.allow_unsafe_code or not any(METRICS[name].runs_code for name in loaded.metrics):
        return []
    reason = available()
    told = f"programs that a model writes are run in a sandbox, and there is none here: {reason}. {_ADVICE}"
    return [Problem("allow_unsafe_code", told)] if reason else []


def confinement_of(spec: RunSpec) -> str:
    """How programs of this run are held."""
    return confinement(is_confined(spec))


def is_confined(spec: RunSpec) -> bool:
    """In the sandbox wherever there is one: to allow its absence is not to ask for it.

    Raises:
        FairtuneError: there is none, and it must not be absent.
    """
    reason = available()
    if reason and not spec.allow_unsafe_code:
        raise FairtuneError(f"there is no sandbox for programs here: {reason}. {_ADVICE}")
    return reason is None
