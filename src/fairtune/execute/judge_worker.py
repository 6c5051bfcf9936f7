"""Inside a judge's own process: one model, every pair of runs that is to be compared."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from fairtune.evaluate.judging import Reader, first_preferred
from fairtune.execute.judged import line_of, questions_of, verdicts_of, win_rate
from fairtune.execute.origin import provenance_here, utc_now
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.progress import ProgressFile
from fairtune.execute.worker import settle_in, status_of
from fairtune.models import fetch
from fairtune.models.device import choose_device, device_name
from fairtune.models.load import LanguageModel
from fairtune.models.opening import open_model, open_tokenizer
from fairtune.records import ErrorInfo, Judgement, JudgementFolder, Provenance, RunFolder, write_lines
from fairtune.study import JudgeSpec, PairSpec

# Questions between two savings: enough that those of one beginning share it, few enough that little is lost.
_TOGETHER = 64


def work(folder_path: str, command: tuple[str, ...]) -> None:
    """Reads ``spec.json``, judges, writes a record a pair.

    What goes wrong in judging is the record of all pairs left, and nothing is raised. Before there is a spec nobody
    here knows the pairs: an error then ends the process, and whoever started it leaves the records.
    """
    process = RunFolder(Path(folder_path))
    settle_in(process)
    spec = JudgeSpec.model_validate_json(process.spec.read_text(encoding="utf-8"))
    progress = ProgressFile(process.progress)
    sitting = Sitting(spec, JudgementFolder(process.path.parent), PhaseMeter(progress), command)
    try:
        for pair in spec.pairs:
            sitting.judge(pair)
    except Exception as error:  # noqa: BLE001 - whatever it is becomes a record, and its traceback the log
        traceback.print_exc()
        sitting.fail(error)
    progress.remove()


class Sitting:
    """A judge at work: what it has said, and its model, which is loaded when there is something to ask."""

    def __init__(self, spec: JudgeSpec, there: JudgementFolder, meter: PhaseMeter, command: tuple[str, ...]) -> None:
        self._spec, self._there, self._meter, self._command = spec, there, meter, command
        self._started = utc_now()
        self._said: dict[str, float | None] = {}
        self._model: LanguageModel | None = None
        self._reader: Reader | None = None

    def judge(self, pair: PairSpec) -> None:
        """Asks what was not asked before, and writes lines and record."""
        self._said = self._said or self._there.said()
        judge = self._spec.judge
        self._meter.costs.pop("evaluate", None)  # that of the pair before
        missing = self._missing(pair)
        if missing:
            self._ask(pair, missing)
        lines = [line_of(judge, item, self._said) for item in pair.items]
        write_lines(self._there.lines(pair.id), (asdict(line) for line in lines))
        rate, p = win_rate(lines)
        found = self._record(pair).model_copy(update={"win_rate": rate, "p": p, "verdicts": verdicts_of(lines)})
        self._there.write(found)
        self._there.partial(pair.id).unlink(missing_ok=True)

    def fail(self, error: Exception) -> None:
        """A record for every pair that has none: what stopped one would stop all."""
        told = ErrorInfo(
            phase=self._meter.current, kind=type(error).__name__, message=str(error) or "no message; see log.txt"
        )
        for pair in self._spec.pairs:
            if not self._there.record(pair.id).exists():
                self._there.write(self._record(pair).model_copy(update={"status": status_of(error), "error": told}))

    def _missing(self, pair: PairSpec) -> dict[str, str]:
        asked = [questions_of(self._spec.judge, item).items() for item in pair.items]
        return {key: text for key, text in itertools.chain.from_iterable(asked) if key not in self._said}

    def _ask(self, pair: PairSpec, missing: Mapping[str, str]) -> None:
        model, reader = self._opened()
        with self._meter.phase("evaluate", len(missing)) as progress:
            done = 0
            for keys in _batches(list(missing), _TOGETHER):
                found = first_preferred(model, reader, [missing[key] for key in keys])
                said = dict(zip(keys, found, strict=True))
                self._there.append(pair.id, [{"key": key, "first": first} for key, first in said.items()])
                self._said.update(said)
                done += len(keys)
                progress.advance(done)

    def _opened(self) -> tuple[LanguageModel, Reader]:
        if self._model is None or self._reader is None:
            choice = self._spec.judge
            self._meter.device = choose_device(self._spec.budget.device)
            with self._meter.phase("load"):
                folder = fetch(choice.model, print)
                tokenizer = open_tokenizer(choice.model, folder, ())
                self._reader = Reader(tokenizer)
                self._model = open_model(
                    choice.model, folder, tokenizer, choice.precision, self._meter.device, self._longest(), seed=0
                )
        return self._model, self._reader

    def _longest(self) -> int:
        """Tokens of the longest question by its characters; decides how attention is computed."""
        texts = [text for pair in self._spec.pairs for text in self._missing(pair).values()]
        return len(self._reader.replies(max(texts, key=len))[0].context) + 1 if self._reader else 0

    def _record(self, pair: PairSpec) -> Judgement:
        return Judgement(
            id=pair.id,
            study=self._spec.study,
            status="ok",
            judge=self._spec.judge,
            run=pair.run.run_id,
            against=pair.against.run_id,
            phases=dict(self._meter.costs),
            provenance=self._provenance(pair),
        )

    def _provenance(self, pair: PairSpec) -> Provenance:
        device = self._meter.device
        return provenance_here(
            self._command,
            self._started,
            str(device),
            device_name(device),
            torch.get_num_threads(),
            model_fingerprint=self._spec.judge.model.fingerprint,
            data_fingerprint=pair.run.task.fingerprint,
        )


def _batches(keys: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
