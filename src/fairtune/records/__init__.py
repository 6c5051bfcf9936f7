"""What happened: the record, its store, and where numbers come from. No torch."""

from fairtune.records.lock import study_lock
from fairtune.records.parity import AnswersCompared, LlamaCpp, LogitsCompared, LossCompared, Parity
from fairtune.records.provenance import GitState, command_line, git_state, package_versions, python_version
from fairtune.records.schema import (
    ErrorInfo,
    Leakage,
    MetricValue,
    Overlap,
    Parameters,
    Phase,
    PhaseCost,
    Plan,
    Provenance,
    RunRecord,
    Selection,
    Status,
    Throughput,
    TokenCounts,
)
from fairtune.records.store import (
    RunFolder,
    read_lines,
    read_record,
    write_atomically,
    write_lines,
    write_record,
)

__all__ = [
    "AnswersCompared",
    "ErrorInfo",
    "GitState",
    "Leakage",
    "LlamaCpp",
    "LogitsCompared",
    "LossCompared",
    "MetricValue",
    "Overlap",
    "Parameters",
    "Parity",
    "Phase",
    "PhaseCost",
    "Plan",
    "Provenance",
    "RunFolder",
    "RunRecord",
    "Selection",
    "Status",
    "Throughput",
    "TokenCounts",
    "command_line",
    "git_state",
    "package_versions",
    "python_version",
    "read_lines",
    "read_record",
    "study_lock",
    "write_atomically",
    "write_lines",
    "write_record",
]
