"""Rows ▸ examples ▸ parts ▸ tokens ▸ batches. Nothing here needs torch."""

from fairtune.data.batches import MicroBatch, micro_batches, updates
from fairtune.data.cut import Cut, cut_to, lengths_of, only_last_answer, require_context
from fairtune.data.encode import Encoded, encode_all, stop_tokens
from fairtune.data.examples import Example, Message, digest, folded, leak_key, make_example
from fairtune.data.items import Items
from fairtune.data.leaks import overlap
from fairtune.data.shapes import SHAPES, recognise, to_examples
from fairtune.data.sources import Row, read_rows
from fairtune.data.task_data import Splits, load_splits
from fairtune.data.windows import windows

__all__ = [
    "SHAPES",
    "Cut",
    "Encoded",
    "Example",
    "Items",
    "Message",
    "MicroBatch",
    "Row",
    "Splits",
    "cut_to",
    "digest",
    "encode_all",
    "folded",
    "leak_key",
    "lengths_of",
    "load_splits",
    "make_example",
    "micro_batches",
    "only_last_answer",
    "overlap",
    "read_rows",
    "recognise",
    "require_context",
    "stop_tokens",
    "to_examples",
    "updates",
    "windows",
]
