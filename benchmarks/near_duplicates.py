"""Near duplicates by exact prefix filtering and by MinHash LSH (datasketch), alternating in one run.

    .venv/bin/python -m pip install -c constraints.txt -e '.[benchmarks]'
    .venv/bin/python benchmarks/near_duplicates.py [--rows FILE] [--train 50000] [--held-out 1000] [--rounds 3]

Both look for pairs with a Jaccard similarity of at least 0.8 over runs of three words, in the same normalised texts,
and both count it out for every candidate. Half of the held-out texts are copies of training texts with 2, 5 or 10 % of
their words edited. MinHash has 128 permutations, in the library's own bands for 0.8 and in 32 bands of 4 rows, which
let hardly any such pair go. Recall is against all pairs of a sample, compared one by one. Prints seconds and ratios.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from datasketch import MinHash, MinHashLSH

from fairtune.data import Message, check_leaks, make_example
from fairtune.data.near import NearIndex
from fairtune.data.words import normalised

ROWS = Path(__file__).parents[2] / "shared" / "data" / "alpaca" / "alpaca_52k.jsonl.gz"
THRESHOLD = 0.8
EDITED = (0.02, 0.05, 0.10)
Found = set[tuple[int, int]]
Bands = tuple[int, int] | None
BANDS: dict[str, Bands] = {"MinHash, own bands": None, "MinHash, 32 bands of 4": (32, 4)}


def read_texts(path: Path, rows: int) -> list[str]:
    """Different normalised questions of Alpaca rows, in a fixed random order."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        asked = [normalised(f"{row['instruction']}\n{row['input']}") for row in map(json.loads, file)]
    texts = list(dict.fromkeys(asked))
    random.Random(0).shuffle(texts)  # noqa: S311
    return texts[:rows]


def edited(text: str, share: float, draw: random.Random, words: list[str]) -> str:
    """The text with words replaced, inserted and deleted; at least one."""
    found = text.split(" ")
    for _ in range(max(1, round(share * len(found)))):
        at = draw.randrange(len(found) + 1)
        found[at : at + draw.randint(0, 1)] = draw.choices(words, k=draw.randint(0, 1))
    return " ".join(found) or draw.choice(words)


def held_out_texts(train: list[str], others: list[str], count: int) -> list[str]:
    """Half edited copies of training texts, half others."""
    draw = random.Random(1)  # noqa: S311
    words = sorted({word for text in train[:2_000] for word in text.split(" ")})
    copies: dict[str, None] = {}
    known = set(train)
    while len(copies) < count // 2:
        text = edited(draw.choice(train), EDITED[len(copies) % 3], draw, words)
        if text not in known:
            copies[text] = None
    return [*copies, *others[: count - len(copies)]]


def runs(text: str) -> frozenset[str]:
    words = text.split(" ")
    return frozenset(" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def brute_force(held_out: list[str], train: list[str]) -> Found:
    others = [runs(text) for text in train]
    mine = [runs(text) for text in held_out]
    return {(i, j) for i, a in enumerate(mine) for j, b in enumerate(others) if jaccard(a, b) >= THRESHOLD}


def exactly(held_out: list[str], train: list[str]) -> Found:
    pairs = NearIndex(held_out).search(train)
    return {
        (int(i), int(j)) for i, j, inside in zip(pairs.first, pairs.second, pairs.inside, strict=True) if not inside
    }


def exactly_within(texts: list[str], _: list[str]) -> Found:
    pairs = NearIndex(texts).within()
    return {(int(i), int(j)) for i, j in zip(pairs.first, pairs.second, strict=True)}


def _sketches(sets: list[frozenset[str]]) -> list[MinHash]:
    return list(MinHash.generator([[run.encode() for run in found] for found in sets], num_perm=128))


def by_minhash(bands: Bands, held_out: list[str], train: list[str]) -> Found:
    """Only the held-out texts are indexed, as they are the fewer."""
    mine, others = [runs(text) for text in held_out], [runs(text) for text in train]
    index = MinHashLSH(threshold=THRESHOLD, num_perm=128, params=bands)
    for i, sketch in enumerate(_sketches(mine)):
        index.insert(i, sketch)
    return {
        (i, j)
        for j, sketch in enumerate(_sketches(others))
        for i in index.query(sketch)
        if jaccard(mine[i], others[j]) >= THRESHOLD
    }


def by_minhash_within(bands: Bands, texts: list[str], _: list[str]) -> Found:
    sets = [runs(text) for text in texts]
    index = MinHashLSH(threshold=THRESHOLD, num_perm=128, params=bands)
    found: Found = set()
    for j, sketch in enumerate(_sketches(sets)):
        found |= {(i, j) for i in index.query(sketch) if jaccard(sets[i], sets[j]) >= THRESHOLD}
        index.insert(j, sketch)
    return found


Search = Callable[[list[str], list[str]], Found]


def searches(ours: Search, theirs: Callable[[Bands, list[str], list[str]], Found]) -> dict[str, Search]:
    """By name: ours first."""
    return {"exact": ours} | {name: functools.partial(theirs, bands) for name, bands in BANDS.items()}


def compare(title: str, peers: dict[str, Search], first: list[str], second: list[str], rounds: int) -> None:
    """Median seconds of each, in turns; the pairs that each finds."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    found: dict[str, Found] = {}
    for _ in range(rounds):
        for name, search in peers.items():
            started = time.perf_counter()
            found[name] = search(first, second)
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    print(title)
    for name, seconds in medians.items():
        alone = len(found[name] - found["exact"])
        ratio = seconds / medians["exact"]
        print(f"  {name}: {seconds:.2f} s, ratio {ratio:.1f}, {len(found[name])} pairs, {alone} that we do not find")


def recall(held_out: list[str], train: list[str], peers: dict[str, Search]) -> None:
    """On a part small enough to compare every pair."""
    true = brute_force(held_out, train)
    print(f"{len(train)} × {len(held_out)}, against all pairs")
    for name, search in peers.items():
        found = search(held_out, train)
        print(f"  {name}: recall {len(found & true) / len(true):.4f} of {len(true)}, wrong {len(found - true)}")


def whole_check(train: list[str], held_out: list[str]) -> None:
    """All kinds, within training too, from rows to the result."""
    rows = [
        [make_example((Message("user", text), Message("assistant", "a"))) for text in texts]
        for texts in (train, held_out)
    ]
    started = time.perf_counter()
    check_leaks({"train": rows[0], "validation": [], "test": rows[1]})
    print(f"The whole check of {len(train)} and {len(held_out)} rows: {time.perf_counter() - started:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--held-out", type=int, default=1_000)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = read_texts(options.rows, options.train + options.held_out)
    train, others = texts[: options.train], texts[options.train :]
    held_out = held_out_texts(train, others, options.held_out)
    peers = searches(exactly, by_minhash)
    compare(f"{len(train)} × {len(held_out)}", peers, held_out, train, options.rounds)
    within = searches(exactly_within, by_minhash_within)
    compare(f"{len(train)} within themselves", within, train, train, options.rounds)
    sample = train[: options.sample]
    recall(held_out_texts(sample, others, min(options.sample, options.held_out)), sample, peers)
    whole_check(train, held_out)


if __name__ == "__main__":
    main()
