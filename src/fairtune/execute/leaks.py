"""The leak check of a study's data: done once, remembered, asked for before every run, and recorded by each."""

from __future__ import annotations

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from fairtune.cache import recall, remember
from fairtune.data import CHECK_VERSION, Example, LeakPair, Leaks, Splits, check_leaks, is_taken, placed
from fairtune.data.leak_keys import LeakPart
from fairtune.data.leaks import KINDS, LeakOverlap, stand_in
from fairtune.errors import DataError
from fairtune.records import BenchmarkLeakage, Leakage, Overlap
from fairtune.study import Task

_TOLD = 10
_WIDTH = 100
# Raised when the same benchmark is looked for in other words.
_ITEMS_VERSION = 1


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


class LearnedFrom:
    """The data that a run learns from, or chooses its epoch by, in which items of benchmarks are looked for.

    Args:
        fingerprint: of the splits.
    """

    def __init__(self, splits: Splits, fingerprint: str) -> None:
        self._splits, self._fingerprint = splits, fingerprint

    @functools.cached_property
    def _parts(self) -> list[LeakPart]:
        return [LeakPart.of(name, self._splits.parts[name]) for name in ("train", "validation")]

    def leaks_of(self, name: str, fingerprint: str, items: Callable[[], Sequence[Example]]) -> BenchmarkLeakage:
        """Which items stand there, from the user's cache where the same were looked for before.

        Args:
            name: of the benchmark; ``fingerprint``: stands for its items.
            items: makes them; several of one id are ways of asking the same.
        """
        key = json.dumps([CHECK_VERSION, _ITEMS_VERSION, self._fingerprint, fingerprint])
        known = recall("benchmark leaks", key)
        if known is not None:
            with contextlib.suppress(ValueError):  # a damaged memory is none
                return BenchmarkLeakage.model_validate_json(known)
        found = _leakage_of_items(stand_in(self._parts, name, items()))
        remember("benchmark leaks", key, found.model_dump_json())
        return found


def _leakage_of_items(overlaps: Sequence[LeakOverlap]) -> BenchmarkLeakage:
    """Overlaps come in order of kinds for each part, the sharpest first."""
    kinds: dict[str, str] = {}
    parts: dict[str, set[str]] = {"train": set(), "validation": set()}
    for overlap in sorted(overlaps, key=lambda overlap: KINDS.index(overlap.kind)):
        for item in map(_item, overlap.ids):
            kinds.setdefault(item, overlap.kind)
            parts[overlap.between[0]].add(item)
    return BenchmarkLeakage(
        in_train=len(parts["train"]),
        in_validation=len(parts["validation"]),
        ids=tuple(kinds),
        kinds=dict(Counter(kinds.values())),
        reason=next((overlap.reason for overlap in overlaps if overlap.reason), None),
    )


def _item(name: str) -> str:
    """``task/number``: of a document a passage of thirteen words is named, ``task/number@word``."""
    task, slash, number = name.rpartition("/")
    return f"{task}{slash}{number.partition('@')[0]}"


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
