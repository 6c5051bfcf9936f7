"""Which run is meant, and which export of it: told from names and records alone, before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairtune.errors import RecordError, SpecError, suggest
from fairtune.models.export import FORMATS, ExportFormat
from fairtune.records import RunFolder, RunRecord


def find_run(text: str, runs: Path) -> RunFolder:
    """The folder of a run.

    Raises:
        SpecError: no such run, or several.
    """
    if (Path(text) / "spec.json").is_file():
        return RunFolder(Path(text))
    known = [path.parent for path in sorted(runs.glob("*/*/spec.json"))]
    found = [folder for folder in known if folder.name.startswith(text)]
    if len(found) == 1:
        return RunFolder(found[0])
    if found:
        raise SpecError(f"run '{text}': stands for {len(found)} runs: {', '.join(map(str, found))}; name one folder")
    raise SpecError(
        f"run '{text}': neither a run folder nor the beginning of a run id in {runs} (--runs DIR); "
        f"{suggest(text, [folder.name for folder in known])}"
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
    if record.spec.trial is not None:
        told = f"run {record.run_id} ({record.spec.cell}): is {record.spec.trial.told}, whose weights were not kept"
        raise RecordError(f"{told}; the study's final runs have theirs")
    return record


@dataclass(frozen=True)
class Asked:
    """Which form, in which number format, where to."""

    form: str
    type_name: str
    output: Path

    @property
    def format(self) -> ExportFormat:
        """The form's own file."""
        return FORMATS[self.form]


def asked_for(folder: RunFolder, form: str, type_name: str | None, output: Path | None, force: bool) -> Asked:
    """Looks at what a user wrote.

    Raises:
        SpecError: a form or number format that is not there; the target exists.
    """
    if form not in FORMATS:
        raise SpecError(f"--to {form}: unknown; {suggest(form, FORMATS)}")
    types = FORMATS[form].types
    if type_name is not None and type_name not in types:
        raise SpecError(f"--type {type_name}: not a number format of '{form}'; {suggest(type_name, types)}")
    chosen = type_name or (types[0] if types else "")
    target = output or folder.path / "export" / "-".join(part for part in (form, chosen) if part)
    if target.exists() and not force:
        raise SpecError(f"{target} exists; choose another folder with --output, or overwrite it with --force")
    if target.exists() and not (target / "parity.json").is_file():
        raise SpecError(f"{target} exists and is no export (it has no parity.json); --force overwrites exports alone")
    return Asked(form, chosen, target)
