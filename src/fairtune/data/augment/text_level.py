"""Kinds that change words, applied to examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from fairtune.data.augment.editor import Editor, Instruction
from fairtune.data.augment.protocol import Augmentation, TextOptions, Tools
from fairtune.data.augment.variants import Added, fill, quota
from fairtune.data.examples import Example, leak_key

_NO_INSTRUCTION = Instruction()


def add_examples(
    kind: Augmentation,
    examples: Sequence[Example],
    options: TextOptions,
    seed: int,
    tools: Tools,
    held_out: Iterable[Example] = (),
    instruction: Instruction = _NO_INSTRUCTION,
) -> Added[Example]:
    """Changed copies of examples, to be added to them.

    Args:
        kind: one that works on text.
        held_out: validation and test, whose questions no copy may ask.
        instruction: the task's own words, which never change.

    Raises:
        DataError: the kind cannot do it: a command that fails, say.
    """
    if kind.words is None:
        raise TypeError(f"{kind.name} does not work on text")
    items = {example.id: example for example in examples}
    counts = quota(items, options.ratio, seed)
    editor = Editor(instruction, options.answers)
    texts = dict.fromkeys(text for name in counts for text in editor.texts(items[name]))
    change = kind.words(options, list(texts), tools)
    held = {leak_key(example) for example in held_out}
    return fill(items, counts, seed, _drafter(kind.name, editor, change), leak_key, held)


def _drafter(
    name: str, editor: Editor, change: Callable[[Sequence[str], Random], list[str]]
) -> Callable[[Example, Random], Example]:
    def draft(example: Example, draw: Random) -> Example:
        return editor.rewritten(example, change(editor.texts(example), draw), f"{name} of {example.id}")

    return draft
