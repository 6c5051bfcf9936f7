"""Run folders: written once, atomically, never overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fairtune.errors import BudgetError, RecordError, RecordVersionError
from fairtune.records.schema import VERSION, Plan, RunRecord
from fairtune.study import RunSpec

R = TypeVar("R", bound=BaseModel)
_KEPT = {"attempts", "checkpoints", "spec.json"}


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; their names are a contract."""

    path: Path

    @classmethod
    def of(cls, runs: Path, spec: RunSpec) -> RunFolder:
        """``RUNS/STUDY/RUN_ID``."""
        return cls(runs / spec.study / spec.run_id)

    @property
    def spec(self) -> Path:
        """The resolved RunSpec."""
        return self.path / "spec.json"

    @property
    def plan(self) -> Path:
        """What was predicted before the run began."""
        return self.path / "plan.json"

    @property
    def record(self) -> Path:
        """The RunRecord."""
        return self.path / "record.json"

    @property
    def curve(self) -> Path:
        """One line an update: step, loss, learning_rate, tokens, seconds, grad_norm."""
        return self.path / "curve.jsonl"

    @property
    def log(self) -> Path:
        """What the run's process printed, tracebacks included."""
        return self.path / "log.txt"

    @property
    def progress(self) -> Path:
        """Where the run is now; only there while it runs."""
        return self.path / "progress.json"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """A training under way, a folder an update; only there until the run has its final record."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """What the model wrote by itself after training on plain text: sample, seed, start, text."""
        return self.path / "examples" / "samples.jsonl"

    def of_rank(self, rank: int) -> RunFolder:
        """Where one of the processes that share a run keeps its log, progress and scratch; rank 0 here."""
        return self if rank == 0 else RunFolder(self.path / "ranks" / str(rank))

    def failure_of(self, rank: int) -> Path:
        """The record as the process of this rank leaves it when it fails; then it is the run's."""
        return self.path / "ranks" / str(rank) / "failed.json"

    def examples(self, metric: str) -> Path:
        """One line an item."""
        return self.path / "examples" / f"{metric}.jsonl"

    def read(self) -> RunRecord | None:
        """The record, or None where there is none.

        Raises:
            RecordError: the file is damaged or of a version this fairtune does not know.
        """
        return read_record(self.record) if self.record.exists() else None

    def read_plan(self) -> Plan:
        """What was predicted; where that is missing or damaged, a plan without numbers that says so."""
        if not self.plan.exists():
            return Plan()
        try:
            return Plan.model_validate_json(self.plan.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return Plan(reason=f"{self.plan.name} is damaged ({_one_line(error)})")

    def archive(self) -> None:
        """Moves what an earlier attempt left into ``attempts/N``, so that nothing is overwritten.

        Checkpoints stay: the next attempt goes on from them.
        """
        left = [item for item in self.path.iterdir() if item.name not in _KEPT] if self.path.exists() else []
        if not left:
            return
        attempts = self.path / "attempts"
        attempts.mkdir(exist_ok=True)
        target = attempts / str(
            1 + max((int(item.name) for item in attempts.iterdir() if item.name.isdigit()), default=0)
        )
        target.mkdir()
        for item in left:
            item.rename(target / item.name)


def read_record(path: Path) -> RunRecord:
    """Reads a record.json.

    Raises:
        RecordError: not readable, not whole, or of another version; the message names the file.
    """
    return read_versioned(path, RunRecord, VERSION)


def read_versioned(path: Path, kind: type[R], known: int) -> R:
    """Reads a JSON file with a version.

    Raises:
        RecordError: not readable, not whole, or of another version; the message names the file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw.get("version") if isinstance(raw, dict) else None
        if isinstance(raw, dict) and isinstance(version, int) and version != known:
            raise RecordVersionError(
                f"{path}: record version {version}; this fairtune reads version {known}. "
                "Read it with the fairtune that wrote it, or move the folder away to run it again"
            )
        return kind.model_validate(raw)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path}: damaged, cannot be read ({_one_line(error)})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"{path}: damaged, not a whole record ({where or 'top level'}: {first['msg']})") from None


def write_record(folder: RunFolder, record: RunRecord) -> None:
    """Writes record.json once.

    Raises:
        RecordError: there is one already.
        BudgetError: the disk is full.
    """
    if folder.record.exists():
        raise RecordError(f"{folder.record}: exists already; records are never overwritten")
    write_atomically(folder.record, record.model_dump_json(indent=1) + "\n")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes to a temporary file beside ``path``, fsyncs and renames: readers see all of it or nothing. Text is UTF-8.

    Raises:
        BudgetError: the file cannot be written (no space, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BudgetError(
            f"{path}: cannot be written: {error.strerror}. Free some space, or choose --runs DIR"
        ) from error


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON Lines, written atomically."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file written by :func:`write_lines`.

    Raises:
        RecordError: missing or damaged.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
