"""What is trained on: real rows as tokens of the model, with labels, in the order of fairtune's updates."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtune.data import Encoded, Example, Message, cut_to, encode_all, lengths_of, make_example, updates
from fairtune.data.starter import SMALL_MODEL
from fairtune.methods import METHODS
from fairtune.models import fetch, identify
from fairtune.models.opening import open_tokenizer
from fairtune.study import ModelRef

Turns = tuple[str, str, str]
"""System message (none if empty), user's, answer."""

TECHNIQUES = {
    "Appeal to authority": "a claim is said to be true because somebody of rank said it, without further evidence",
    "Appeal to fear/prejudice": "support is sought by raising anxiety or panic about the alternative",
    "Bandwagon": "the reader should join in because everybody else does the same already",
    "Black-and-white Fallacy/Dictatorship": "only two choices are presented, or only one, although there are more",
    "Causal Oversimplification": "one single cause is assumed where an event in truth has several",
    "Doubt": "the credibility of somebody or something is called into question",
    "Exaggeration/Minimisation": "something is made larger, better, worse, or else less important than it is",
    "Flag-waving": "strong feelings for a country or a group are played on to justify an idea",
    "Glittering generalities (Virtue)": "words of high value, such as freedom, are tied to a person or a cause",
    "Loaded Language": "words and phrases with strong emotional meaning are used to influence the reader",
    "Misrepresentation of Someone's Position (Straw Man)": "an opponent's claim is replaced by another, then refuted",
    "Name calling/Labeling": "the target is given a name that the reader fears, hates, or else loves and praises",
    "Obfuscation, Intentional vagueness, Confusion": "words are kept unclear, so that each reader may read his own",
    "Presenting Irrelevant Data (Red Herring)": "something beside the point diverts attention from the matter at hand",
    "Reductio ad hitlerum": "an idea is disapproved of because a group that is hated holds it as well",
    "Repetition": "the same message comes again and again, so that the reader in the end accepts it",
    "Slogans": "a brief and striking phrase, which may well include labels and stereotypes",
    "Smears": "somebody's reputation is damaged by negative claims about the person",
    "Thought-terminating cliché": "a short phrase that discourages further thought and ends the discussion",
    "Whataboutism": "an opponent is charged with hypocrisy, and the argument itself stays unanswered",
}
INSTRUCTION = "\n".join(
    [
        "You are given the text of an image that was shared on a social network.",
        "Name every technique of persuasion that it uses, separated by semicolons, exactly as written below.",
        "Write None if it uses none.",
        *(f"- {name}: {meaning}." for name, meaning in TECHNIQUES.items()),
    ]
)


def alpaca(data: Path) -> tuple[list[Turns], list[Turns]]:
    """One pool for both: the parts are drawn from it."""
    with gzip.open(data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(0).shuffle(rows)  # noqa: S311
    asked = [("", "\n".join(filter(None, (row["instruction"], row["input"]))), row["output"]) for row in rows]
    kept = [turns for turns in asked if turns[2].strip()]
    return kept[1_000:], kept[:1_000]


def semeval(data: Path) -> tuple[list[Turns], list[Turns]]:
    """The published training and development parts."""

    def read(part: str) -> list[Turns]:
        rows = json.loads((data / "semeval2021_task6" / f"{part}_set_task1.txt").read_text(encoding="utf-8"))
        return [(INSTRUCTION, row["text"].strip(), "; ".join(row["labels"]) or "None") for row in rows]

    return read("training"), read("dev")


@dataclass(frozen=True)
class Kind:
    """Where rows come from, how many by default, and what is done with them."""

    read: Callable[[Path], tuple[list[Turns], list[Turns]]]
    rows: int
    max_length: int
    method: str
    options: dict[str, Any]


LORA = {"rank": 16, "alpha": 32, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
# Longer where the instruction alone has about 500 tokens; fewer rows where a peer needs minutes for a hundred.
WORKLOADS = {
    "alpaca": Kind(alpaca, 500, 512, "lora", LORA),
    "semeval": Kind(semeval, 96, 1024, "lora", LORA),
    "full": Kind(alpaca, 160, 512, "full", {}),
}


def prepare(name: str, data: Path, rows: int | None, held_out: int, seed: int) -> dict[str, Any]:
    """Everything that a side needs to know, as JSON."""
    kind = WORKLOADS[name]
    model = identify(ModelRef(source=SMALL_MODEL), Path())
    folder = fetch(model, print)
    tokenizer = open_tokenizer(model, folder, ())
    train, validation = kind.read(data)
    parts = [encode_all(map(_example, part), tokenizer) for part in (train[: rows or kind.rows], validation[:held_out])]
    (rows_cut, _), (held_out_cut, _) = (cut_to(part, kind.max_length) for part in parts)
    batch_size = 8
    return {
        "name": name,
        "model": str(folder),
        "method": kind.method,
        "options": kind.options,
        "max_length": kind.max_length,
        "batch_size": batch_size,
        "learning_rate": METHODS[kind.method].learning_rate,
        "schedule": "cosine",
        "seed": seed,
        "longest": max(length for part in parts for length in lengths_of(part)),
        "rows": [_plain(item) for item in rows_cut],
        "validation": [_plain(item) for item in held_out_cut],
        "order": [at for update in updates(len(rows_cut), batch_size, seed, 0) for at in update],
    }


def _example(turns: Turns) -> Example:
    system, user, answer = turns
    head = (Message("system", system),) if system else ()
    return make_example((*head, Message("user", user), Message("assistant", answer)))


def _plain(item: Encoded) -> dict[str, Any]:
    return {"tokens": list(item.tokens), "supervised": [int(learned) for learned in item.supervised]}
