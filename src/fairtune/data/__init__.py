"""Rows ▸ examples ▸ parts ▸ tokens ▸ batches. Nothing here needs torch."""

from fairtune.data.batches import MicroBatch, micro_batches, updates
from fairtune.data.corpus import Examples
from fairtune.data.encode import Cut, Encoded, cut_to, encode_all, only_last_answer, require_context, stop_tokens
from fairtune.data.examples import Example, Message, digest, folded, leak_key, make_example
from fairtune.data.formats import FORMATS
from fairtune.data.leaks import CHECK_VERSION, LeakPair, Leaks, check_leaks, kept, overlap
from fairtune.data.shapes import SHAPES, Reading, recognise, to_examples
from fairtune.data.sources import Row, read_rows
from fairtune.data.task_data import BadRows, Splits, is_taken, load_held_out, load_splits
from fairtune.data.windows import windows

__all__ = [
    "CHECK_VERSION",
    "FORMATS",
    "SHAPES",
    "BadRows",
    "Cut",
    "Encoded",
    "Example",
    "Examples",
    "LeakPair",
    "Leaks",
    "Message",
    "MicroBatch",
    "Reading",
    "Row",
    "Splits",
    "check_leaks",
    "cut_to",
    "digest",
    "encode_all",
    "folded",
    "is_taken",
    "kept",
    "leak_key",
    "load_held_out",
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
