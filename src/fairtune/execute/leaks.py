"""The leak check of a study's data: done once, remembered, asked for before every run, and recorded by each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fairtune.cache import recall, remember
from fairtune.data import CHECK_VERSION, Example, LeakPair, Leaks, Splits, check_leaks, is_taken, placed
from fairtune.errors import DataError
from fairtune.records import Leakage, Overlap
from fairtune.study import Task

_TOLD = 10
_WIDTH = 100


def find_leaks(
    task: Task, splits: Splits, fingerprint: str, against: Mapping[str, Sequence[Example]] | None = None
) -> Leaks:
    """What the check finds, from the user's cache where the same data were checked before.

    Args:
        fingerprint: of the splits. A worker knows it from its RunSpec.
        against: more held-out sets; then nothing is remembered.
    """
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    taken = [part for part in ("validation", "test") if is_taken(task, part)]
    if against:
        return check_leaks(parts, against, taken, splits.left_out)
    # What was taken and left out is part of the result, and the same rows may have been split in another way.
    key = json.dumps([CHECK_VERSION, fingerprint, taken, splits.left_out])
    known = _recalled(key)
    if known is not None:
        return placed(known, parts)
    found = check_leaks(parts, taken=taken, left_out=splits.left_out)
    remember("leaks", key, json.dumps(found.stored(), ensure_ascii=False))
    return found


def _recalled(key: str) -> Leaks | None:
    """What is remembered; a damaged memory is none."""
    known = recall("leaks", key)
    try:
        return None if known is None else Leaks.read(json.loads(known))
    except (ValueError, KeyError, TypeError):
        return None


def leakage_of(found: Leaks, allowed: bool) -> Leakage:
    """What a record keeps."""
    trained, chosen = found.ids("train", "test"), found.ids("validation", "test")
    return Leakage(
        test_in_train=len(trained),
        test_in_validation=len(chosen),
        validation_in_train=len(found.ids("train", "validation")),
        ids=tuple(dict.fromkeys([*trained, *chosen])),
        overlaps=tuple(
            Overlap(
                between=overlap.between,
                kind=overlap.kind,
                pairs=overlap.pairs,
                ids=overlap.ids,
                reason=overlap.reason,
            )
            for overlap in found.overlaps
        ),
        duplicates=found.duplicates,
        left_out=found.left_out,
        allowed=allowed,
        reason=None,
    )


def refuse_leaks(task: Task, found: Leaks, allowed: bool) -> None:
    """Stops a study with test items of its own that are trained on.

    A text whose end fairtune took for the test part may well say something twice; that is told, and stops nothing.

    Raises:
        DataError: they are, and the study does not allow it; with the first of them.
    """
    found = found.as_given()
    ids = found.ids("train", "test")
    if allowed or not ids or is_taken(task, "test"):
        return
    pairs = [pair for pair in found.examples if pair.between == ("train", "test")]
    lines = [
        (
            f"task '{task.name}': {_counted(found, ids)} stand in the training data "
            f"({leakage_of(found, allowed).kinds('train', 'test')}), so their scores would say nothing"
        ),
        *(line for pair in pairs[:_TOLD] for line in _lines(pair)),
        *([f"  … and more; `fairtune data check` lists all {len(ids):,} with --json"] if len(ids) > _TOLD else []),
        (
            "  Take them out of one of the two, or write `allow_leakage: true` into the study: the report then says so "
            "beside every score"
        ),
    ]
    raise DataError("\n".join(lines))


def _counted(found: Leaks, ids: Sequence[str]) -> str:
    """Documents are told in passages of thirteen words."""
    passages = any("@" in name for name in ids)
    return (
        f"{len(ids):,} passages of the test text" if passages else f"{len(ids):,} of {found.rows['test']:,} test items"
    )


def _lines(pair: LeakPair) -> list[str]:
    told = pair.kind if pair.kind != "near" else f"near, {pair.similarity:.2f}"
    sides = zip(pair.where, pair.ids, pair.texts, strict=True)
    return [f"  {told}:", *(f"    {where} ({name}): {_cut(text)}" for where, name, text in reversed(list(sides)))]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
