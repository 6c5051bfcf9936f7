"""A run by its folder, or by the beginning of its id."""

from __future__ import annotations

from pathlib import Path

from fairtune.errors import RecordError, SpecError, suggest
from fairtune.records import RunFolder, RunRecord


def find_run(text: str, runs: Path) -> RunFolder:
    """The folder of a run.

    Raises:
        SpecError: no such run, or several.
    """
    if (Path(text) / "spec.json").is_file():
        return RunFolder(Path(text))
    known = {path.parent.name: path.parent for path in sorted(runs.glob("*/*/spec.json"))}
    found = [path.parent for path in sorted(runs.glob("*/*/spec.json")) if path.parent.name.startswith(text)]
    if len(found) == 1:
        return RunFolder(found[0])
    if found:
        raise SpecError(f"run '{text}': stands for {len(found)} runs: {', '.join(map(str, found))}; name one folder")
    raise SpecError(
        f"run '{text}': neither a run folder nor the beginning of a run id in {runs} (--runs DIR); "
        f"{suggest(text, known)}"
    )


def finished(folder: RunFolder) -> RunRecord:
    """The record of a run that succeeded.

    Raises:
        RecordError: it has none, or ended otherwise.
    """
    record = folder.read()
    if record is None:
        raise RecordError(f"run {folder.path}: has no record.json, so it has not finished; run its study first")
    if record.status != "ok":
        why = f": {record.error.message}" if record.error else ""
        raise RecordError(f"run {record.run_id} ({record.spec.cell}): ended as '{record.status}'{why}")
    return record
