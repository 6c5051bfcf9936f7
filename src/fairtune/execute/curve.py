"""Every update, as it happens: curve.jsonl and TensorBoard's event files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

from tensorboardX import SummaryWriter

from fairtune.execute.progress import ProgressFile
from fairtune.records import RunFolder
from fairtune.train.loop import UpdateReport, curve_line

_SCALARS = ("loss", "learning_rate", "grad_norm")


@contextlib.contextmanager
def curve_writer(folder: RunFolder, progress: ProgressFile, rank: int) -> Iterator[Callable[[UpdateReport], None]]:
    """A function that writes an update to all three places; of processes that share a run, only rank 0 does."""
    if rank:
        yield lambda update: None
        return
    with folder.curve.open("w", encoding="utf-8") as lines, SummaryWriter(str(folder.tensorboard)) as board:

        def write(update: UpdateReport) -> None:
            lines.write(json.dumps(curve_line(update)) + "\n")
            lines.flush()
            for name in _SCALARS:
                board.add_scalar(f"train/{name}", getattr(update, name), update.step)
            progress.advance(update.step, update.loss, update.tokens / update.seconds)

        yield write
