"""Every update, as it happens: curve.jsonl and TensorBoard's event files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tensorboardX import SummaryWriter

from fairtune.execute.progress import ProgressFile
from fairtune.records import RunFolder, read_lines
from fairtune.train.loop import UpdateReport, curve_line

_SCALARS = ("loss", "learning_rate", "grad_norm")


class Curve:
    """Is told of every update, and writes it to both places and to the progress."""

    def __init__(self, path: Path, lines: TextIO, board: SummaryWriter, progress: ProgressFile) -> None:
        self._path, self._lines, self._board, self._progress = path, lines, board, progress

    def __call__(self, update: UpdateReport) -> None:
        """An update was made."""
        self._write(curve_line(update))
        self._progress.advance(update.step, update.loss, update.tokens / update.seconds)

    def so_far(self) -> list[dict[str, Any]]:
        """The lines that are written."""
        return read_lines(self._path)

    def take_over(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Begins with the updates of an earlier attempt."""
        for line in lines:
            self._write(line)
        self._progress.begin_at(len(lines))

    def _write(self, line: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for name in _SCALARS:
            if line[name] is not None:  # a gradient's norm that an update did not have
                self._board.add_scalar(f"train/{name}", line[name], line["step"])


class Silent(Curve):
    """Of processes that share a run only one writes; the others tell how far they are."""

    def __init__(self, progress: ProgressFile) -> None:
        self._progress = progress

    def so_far(self) -> list[dict[str, Any]]:
        """Nothing: it is the other's."""
        return []

    def _write(self, line: Mapping[str, Any]) -> None:
        """Nothing."""


@contextlib.contextmanager
def curve_writer(folder: RunFolder, progress: ProgressFile, rank: int) -> Iterator[Curve]:
    """The curve of a training that begins now."""
    if rank:
        yield Silent(progress)
        return
    with folder.curve.open("w", encoding="utf-8") as lines, SummaryWriter(str(folder.tensorboard)) as board:
        yield Curve(folder.curve, lines, board, progress)
