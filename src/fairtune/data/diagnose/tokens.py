"""Faults that show in the tokens: what begins and ends them, what carries loss, what a length limit takes away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fairtune.data.diagnose.finding import Fault, Material, by_share, fault
from fairtune.data.encode import Encoded


def doubled_bos(material: Material) -> Fault | None:
    """Texts that begin twice."""
    begin = material.tokenizer.bos_token_id
    ids = [item.id for item in material.encoded if begin is not None and item.tokens[:2] == (begin, begin)]
    return fault(
        by_share(len(ids), len(material.examples)),
        ids,
        f"two begin tokens ({material.tokenizer.bos_token}) stand at the start: one is written by the template or the "
        "row, and one is added. Remove the one in the row, or in the template",
    )


def missing_bos(material: Material) -> Fault | None:
    """Texts without the begin token that the tokenizer itself would put there."""
    begin = material.tokenizer.bos_token_id
    if begin is None or list(material.tokenizer("a")["input_ids"])[:1] != [begin]:
        return None
    return fault(
        "warning",
        [item.id for item in material.encoded if item.tokens[:1] != (begin,)],
        f"the tokenizer begins every text with {material.tokenizer.bos_token}, and these examples have none: the chat "
        "template does not write it (or the text is a document, which is read as it is). Some models do much worse "
        "without it; add it to the template",
    )


def doubled_eos(material: Material) -> Fault | None:
    """Answers that end twice."""
    ids = [item.id for _, item in material.asked if any(_ends_twice(item, end, material) for _, end in _answers(item))]
    return fault(
        by_share(len(ids), len(material.examples)),
        ids,
        "the answer ends in two end tokens: its own text holds one, and the template (or fairtune, where there is "
        "none) adds another. Remove it from the rows",
    )


def _ends_twice(item: Encoded, end: int, material: Material) -> bool:
    last = item.tokens[end - 2 : end]
    return len(last) == 2 and last[0] == last[1] and last[0] in material.special_ids


def end_not_supervised(material: Material) -> Fault | None:
    """Answers whose last learned token is no end of turn."""
    ids = [
        item.id
        for _, item in material.asked
        if any(item.tokens[end - 1] not in material.special_ids for _, end in _answers(item))
    ]
    return fault(
        "error",
        ids,
        "the end-of-turn token carries no loss: the model learns the answer and not to stop after it",
    )


def end_not_special(material: Material) -> Fault | None:
    """A template that ends answers with words."""
    marks = material.marks
    if marks is None or any(text in marks.tail for text in material.specials):
        return None
    return fault(
        "warning",
        [example.id for example, _ in material.asked],
        f"the chat template ends an answer with {marks.tail!r}, which is no special token, so "
        f"{material.tokenizer.eos_token} is put behind it and learned; programs that follow the template alone "
        "will not see it. Mend the template, or declare its end as a special token of the tokenizer",
    )


def earlier_answers_not_learned(material: Material) -> Fault | None:
    """Conversations of which only the last answer carries loss."""
    ids = [
        item.id
        for example, item in material.asked
        if len(_answers(item)) < sum(message.role == "assistant" for message in example.messages)
    ]
    rewritten = "the chat template writes earlier answers in another way once there is a later one"
    why = rewritten if material.tokenizer.chat_template else "without a chat template, turns are put together bare"
    return fault(
        "note",
        ids,
        f"{why}, so only the last answer of a conversation carries loss. To learn from each, give each as a row of its "
        "own, with the turns before it",
    )


def empty_answers(material: Material) -> Fault | None:
    """Answers that have no token of their own."""
    ids = [
        item.id
        for example, item in material.asked
        if not example.answer.strip() or not any(token not in material.special_ids for token in _learned(item))
    ]
    return fault("warning", ids, "the answer is empty, and the model learns to say nothing. Remove these rows")


def answers_without_words(material: Material) -> Fault | None:
    """Answers of signs alone."""
    ids = [
        example.id
        for example, _ in material.asked
        if example.answer.strip() and not any(sign.isalnum() for sign in example.answer)
    ]
    return fault("note", ids, "the answer has neither a letter nor a digit; look whether that is meant")


def answers_lost(material: Material) -> Fault | None:
    """Prompts that fill the length limit."""
    limit = material.max_length
    ids = [item.id for _, item in material.asked if limit and not any(item.supervised[1:limit])]
    return fault(
        "error",
        ids,
        f"the prompt fills max_length={limit}, so nothing of the answer is left; a run refuses them. Raise "
        "training.max_length, or shorten the prompts",
    )


def answers_cut(material: Material) -> Fault | None:
    """Answers that lose their end."""
    limit = material.max_length or 0
    cut = [item for _, item in material.asked if any(item.supervised[1:limit]) and any(item.supervised[limit:])]
    tokens = sum(sum(item.supervised[limit:]) for item in cut)
    return fault(
        "warning",
        [item.id for item in cut] if limit else [],
        f"the answer is cut at max_length={limit}: {tokens} supervised tokens are lost, and with each answer its end "
        "of turn, so the model is not taught to stop there. Raise training.max_length, or split the answers",
    )


def beyond_context(material: Material) -> Fault | None:
    """Examples that are longer than the model reads."""
    context = material.context
    # The last token is predicted, never read.
    read = [(item, min(len(item.tokens), material.max_length or len(item.tokens)) - 1) for _, item in material.asked]
    ids = [item.id for item, length in read if context is not None and length > context]
    return fault(
        "error",
        ids,
        f"the example is longer than the {context} tokens that the model reads at once; a run refuses it. Lower "
        "training.max_length, shorten the rows, or take another model",
    )


def unknown_tokens(material: Material) -> Fault | None:
    """Texts with signs that the tokenizer does not know."""
    unknown = material.tokenizer.unk_token_id
    ids = [item.id for item in material.encoded if unknown is not None and unknown in item.tokens]
    return fault(
        "warning",
        ids,
        f"some of the text is unknown to the tokenizer and reaches the model as {material.tokenizer.unk_token}: what "
        "it was cannot be learned. Take another tokenizer, or rewrite those signs",
    )


def answer_in_context(material: Material) -> Fault | None:
    """Answers whose tokens depend on whether the prompt stands before them."""
    within = {example.id: whole for (example, _), whole in zip(material.asked, _within(material), strict=True)}
    differ = _unlike(material, {example.id: example.answer for example, _ in material.asked}, within)
    # Many templates strip what they are given.
    differ = _unlike(material, {name: answer.strip() for name, answer in differ.items()}, within)
    return fault(
        "note",
        differ,
        "the answer tokenises differently alone than behind its prompt. Nothing is wrong here, since training and "
        "scoring use the same tokens; a program that tokenises the two apart, or as one text, to score answers by "
        "likelihood or to share prompts among them, will compute something else",
    )


def _unlike(material: Material, answers: dict[str, str], within: dict[str, Sequence[int]]) -> dict[str, str]:
    """Of the answers, those whose own tokens are not the ones in context."""
    alone = _ids(material, list(answers.values()))
    pairs = zip(answers.items(), alone, strict=True)
    return {name: answer for (name, answer), tokens in pairs if within[name][: len(tokens)] != tokens}


def _within(material: Material) -> list[Sequence[int]]:
    """The answers' tokens where they stand in a whole text.

    Without a template, prompt and answer are tokenised apart in training: the whole text is tokenised here.
    """
    if material.tokenizer.chat_template:
        return [list(item.tokens[item.prompt_length :]) for _, item in material.asked]
    prompts = ["\n".join(message.content for message in example.prompt) for example, _ in material.asked]
    wholes = _ids(
        material, [prompt + example.answer for prompt, (example, _) in zip(prompts, material.asked, strict=True)]
    )
    heads = _ids(material, prompts)
    return [whole[len(head) :] if whole[: len(head)] == head else [] for whole, head in zip(wholes, heads, strict=True)]


def _ids(material: Material, texts: list[str]) -> list[list[int]]:
    return list(material.tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []


def _answers(item: Encoded) -> list[tuple[int, int]]:
    """Where the runs of supervised tokens begin and end."""
    changes = np.flatnonzero(np.diff(np.array(item.supervised, dtype=np.int8), prepend=0, append=0))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def _learned(item: Encoded) -> Iterator[int]:
    """Tokens of the last answer that carry loss."""
    start = item.prompt_length
    pairs = zip(item.tokens[start:], item.supervised[start:], strict=True)
    return (token for token, learned in pairs if learned)
