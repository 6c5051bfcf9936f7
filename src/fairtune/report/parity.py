"""What a parity check found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairtune.records import AnswersCompared, Parity
from fairtune.units import format_bytes


def parity_lines(parity: Parity, folder: Path) -> list[str]:
    """A few lines for people; everything is in ``parity.json``."""
    return list(_lines(parity, folder))


def _lines(parity: Parity, folder: Path) -> Iterator[str]:
    form = parity.form + (f" ({parity.type})" if parity.type else "")
    yield f"{form} of run {parity.run_id} ({parity.run}): {folder}, {format_bytes(sum(parity.files.values()))}"
    yield (
        f"Loaded again and compared with the run on its {parity.items} test items "
        f"(run in {parity.computed[0]}, export in {parity.computed[1]}):"
    )
    logits, loss = parity.logits, parity.loss
    where = "" if logits.positions == logits.of else f" ({logits.positions:,} of {logits.of:,} positions)"
    yield f"  largest difference of a logit  {logits.largest:.3g}, mean {logits.mean:.2g}{where}"
    yield f"  answers changed                {_changed(parity.answers)}"
    yield (
        f"  nats per token of the answers  {loss.run:.4f} → {loss.export:.4f} ({loss.difference:+.4f}), "
        f"{loss.tokens:,} tokens"
    )
    if parity.answers_as_recorded is not None and parity.answers_as_recorded < parity.items:
        # The run itself did not come back whole: another machine or library, or something was not restored.
        yield f"  the run's own answers          {parity.answers_as_recorded} of {parity.items} came out as recorded"
    if parity.items_tokenised_otherwise:
        yield f"  items tokenised otherwise      {parity.items_tokenised_otherwise} of {parity.items}"
    if parity.llama_cpp is not None:
        yield f"  in llama.cpp                   {_llama_cpp(parity)}"
    yield from (f"Note: {remark}" for remark in parity.remarks)


def _changed(answers: AnswersCompared) -> str:
    return f"{answers.changed} of {answers.of}" if answers.changed is not None else f"– ({answers.reason})"


def _llama_cpp(parity: Parity) -> str:
    found = parity.llama_cpp
    if found is None or found.answers is None:
        return f"not run: {found.reason if found else 'not asked'}"
    return (
        f"{_changed(found.answers)} answers changed, "
        f"{found.prompts_tokenised_otherwise} prompts tokenised otherwise (llama_cpp {found.version})"
    )
