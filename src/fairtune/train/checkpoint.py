"""A training under way on disk: whole or not there, found again, and believed only when every byte is as written.

``<update>/rank-0.safetensors`` and ``rank-0.json`` are one process's part; every process writes its own, at the same
time. ``manifest.json`` is written last, when all parts are there, and then the folder gets its name. The last two stay.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fairtune.cache import hash_file
from fairtune.errors import RecordError
from fairtune.records import MANIFEST, Manifest, checkpoints_in, read_manifest, require_whole
from fairtune.study import Checkpoint
from fairtune.train.parallel import ALONE, Group
from fairtune.train.state import State, TensorFile, write_tensors

_KEPT = 2
# At the end of training, what took a tenth of the interval is worth keeping too: scoring may still die.
_LAST_SHARE = 0.1


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        found: the state to go on from, once :meth:`look` has found one.
        beside: what :attr:`aside` gave when that was written.
        remarks: what :meth:`look` found and could not use, for people.
    """

    def __init__(
        self,
        folder: Path,
        cadence: Checkpoint,
        identity: Mapping[str, Any],
        circumstances: Mapping[str, Any],
        aside: Callable[[], Mapping[str, Any]] = dict,
        group: Group = ALONE.group,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes what stands in the manifests.

        Args:
            identity: what must be the same for training to go on bit for bit.
            circumstances: what may differ, and is then remarked.
            aside: what else belongs to this moment of the run, as JSON can say it.
        """
        self.group = group
        self._folder, self._cadence, self._aside, self._clock = folder, cadence, aside, clock
        self._identity = {**identity, "processes": self.group.ranks}
        self._circumstances = dict(circumstances)
        self._part = f"rank-{self.group.rank}"
        self._unfinished = folder / "unfinished"
        self._written, self._at = 0, clock()
        self.found: State | None = None
        self.beside: dict[str, Any] = {}
        self.remarks: list[str] = []

    @property
    def update(self) -> int:
        """The update of the last checkpoint that was found or written; 0 before the first."""
        return self._written

    def look(self) -> None:
        """Finds the newest checkpoint that can be gone on from. Others are put into ``unused/``, with a remark."""
        there = checkpoints_in(self._folder)
        for folder in there:
            problem = self._problem(folder)
            if self._agree(problem is None):
                self._read(folder)
                return
            self._remark(f"the checkpoint at update {folder.name} is not used: {problem or 'of another process'}")
            self._put_aside(folder)
        if there:
            self._remark("no other checkpoint is left: training starts anew")

    def offer(self, update: int, last: bool, state: Callable[[], State]) -> None:
        """Writes a checkpoint after this many updates, if it is time. A full disk costs it, and not the training.

        Args:
            last: training ends here.
        """
        if not self._agree(self._due(update, last)):
            return
        parts = (self._begin, functools.partial(self._add, state), functools.partial(self._finish, update))
        for part in parts:
            problem = _disk_problem(part)
            if not self._agree(problem is None):
                print(f"no checkpoint at update {update}: {problem or 'of another process'}; training goes on")
                break
        self._written, self._at = update, self._clock()

    def _agree(self, here: bool) -> bool:
        """Whether something is true in all processes; none goes on before the others have come here too."""
        return not any(self.group.largest([float(not here)]))

    def _due(self, update: int, last: bool) -> bool:
        share = _LAST_SHARE if last else 1.0
        if self._cadence.updates is not None:
            return update - self._written >= self._cadence.updates * share
        return self._clock() - self._at >= (self._cadence.every or 0.0) * share

    def _begin(self) -> None:
        if self.group.rank == 0:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)

    def _add(self, state: Callable[[], State]) -> None:
        now = state()
        digest = write_tensors(self._unfinished / f"{self._part}.safetensors", now.tensors)
        facts = {"facts": now.facts, "beside": self._aside(), "tensors": digest}
        _write_text(self._unfinished / f"{self._part}.json", json.dumps(facts))

    def _finish(self, update: int) -> None:
        if self.group.rank != 0:
            return
        files = {}
        for rank in range(self.group.ranks):
            path = self._unfinished / f"rank-{rank}.json"
            files[path.name] = hash_file(path)
            files[f"rank-{rank}.safetensors"] = json.loads(path.read_text(encoding="utf-8"))["tensors"]
        manifest = Manifest(update, self._identity, self._circumstances, files)
        _write_text(self._unfinished / MANIFEST, manifest.text())
        _sync_folder(self._unfinished)
        self._unfinished.rename(self._folder / str(update))
        _sync_folder(self._folder)
        for old in checkpoints_in(self._folder)[_KEPT:]:
            shutil.rmtree(old)

    def _problem(self, folder: Path) -> str | None:
        """Why this process cannot go on from there."""
        try:
            manifest = read_manifest(folder)
            other = "; ".join(_differences(manifest.identity, self._identity))
            if other:
                return f"it cannot be continued bit for bit ({other})"
            require_whole(folder, (f"{self._part}.safetensors", f"{self._part}.json"), manifest)
        except RecordError as error:
            return str(error)
        return None

    def _read(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        for difference in _differences(manifest.circumstances, self._circumstances):
            self._remark(f"{difference}: from here on, bits may be others than those of an uninterrupted run")
        kept = json.loads((folder / f"{self._part}.json").read_text(encoding="utf-8"))
        self.found = State(TensorFile(folder / f"{self._part}.safetensors"), kept["facts"])
        self.beside = kept["beside"]
        self._written, self._at = manifest.update, self._clock()
        print(f"training goes on from update {manifest.update}")

    def _put_aside(self, folder: Path) -> None:
        """Not removed: with the packages that wrote it, a checkpoint may be as good as ever."""
        if self.group.rank == 0:
            target = folder.parent / "unused" / folder.name
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            folder.rename(target)

    def _remark(self, text: str) -> None:
        print(text)
        self.remarks.append(text)


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """``torch was 2.12.0, is 2.13.0`` for everything that is not the same."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*was, *now]):
            yield from _differences(was.get(key), now.get(key), key)
    elif was != now:
        yield f"{name} was {was}, is {now}"


def _disk_problem(part: Callable[[], None]) -> str | None:
    try:
        part()
    except OSError as error:
        return f"{error.filename or 'the disk'}: {error.strerror}"
    return None


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk when this returns, where the system lets a folder be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
