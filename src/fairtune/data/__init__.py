"""Rows ▸ examples ▸ parts ▸ tokens ▸ batches. Nothing here needs torch."""

from fairtune.data.batches import (
    MicroBatch,
    Updates,
    common_beginning,
    divide,
    micro_batches,
    packs,
    shared_beginning,
    updates,
)
from fairtune.data.corpus import Examples
from fairtune.data.cut import Cut, cut_to, join, lengths_of, only_last_answer, require_context
from fairtune.data.encode import Encoded, OneByOne, encode_all, stop_tokens
from fairtune.data.examples import Example, Message, digest, folded, leak_key, make_example
from fairtune.data.formats import FORMATS
from fairtune.data.items import Items
from fairtune.data.leaks import CHECK_VERSION, LeakPair, Leaks, check_leaks, kept, overlap, placed
from fairtune.data.shapes import SHAPES, Reading, recognise, to_examples
from fairtune.data.sources import Layout, Row, read_rows, without_header
from fairtune.data.task_data import BadRows, Splits, is_taken, load_held_out, load_splits
from fairtune.data.template import template_of
from fairtune.data.text_sizes import text_sizes
from fairtune.data.windows import Windows, windows

__all__ = [
    "CHECK_VERSION",
    "FORMATS",
    "SHAPES",
    "BadRows",
    "Cut",
    "Encoded",
    "Example",
    "Examples",
    "Items",
    "Layout",
    "LeakPair",
    "Leaks",
    "Message",
    "MicroBatch",
    "OneByOne",
    "Reading",
    "Row",
    "Splits",
    "Updates",
    "Windows",
    "check_leaks",
    "common_beginning",
    "cut_to",
    "digest",
    "divide",
    "encode_all",
    "folded",
    "is_taken",
    "join",
    "kept",
    "leak_key",
    "lengths_of",
    "load_held_out",
    "load_splits",
    "make_example",
    "micro_batches",
    "only_last_answer",
    "overlap",
    "packs",
    "placed",
    "read_rows",
    "recognise",
    "require_context",
    "shared_beginning",
    "stop_tokens",
    "template_of",
    "text_sizes",
    "to_examples",
    "updates",
    "windows",
    "without_header",
]
