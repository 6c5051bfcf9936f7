"""Faults of a chat template, or of its absence."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fairtune.data.diagnose.finding import Fault, Material, by_share, fault
from fairtune.data.diagnose.marks import render, word_of
from fairtune.data.examples import Message

# How the best known templates begin a question: family, mark, and the token that it needs (None for plain words).
_FAMILIES = (
    ("ChatML", "<|im_start|>user", "<|im_start|>"),
    ("Llama 2", "[INST]", None),
    ("Llama 3", "<|start_header_id|>user", "<|start_header_id|>"),
    ("Gemma", "<start_of_turn>user", "<start_of_turn>"),
    ("Phi or Zephyr", "<|user|>", "<|user|>"),
    ("Alpaca", "### Instruction:", None),
)
_CHAT_TOKENS = {token for _, _, token in _FAMILIES if token} | {"[INST]", "<|eot_id|>", "<|assistant|>", "<|end|>"}
_CHAT_NAME = re.compile(r"(?:^|[-_. /])(?:instruct|chat|it|sft|dpo)(?:$|[-_. /])", re.IGNORECASE)
_ASKS = re.compile(r"^[ \t]*(?:user|human|question|q|instruction|prompt)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_ANSWERS = re.compile(r"^[ \t]*(?:assistant|bot|ai|answer|a|response|completion)[ \t]*:", re.IGNORECASE | re.MULTILINE)


def template_twice(material: Material) -> Fault | None:
    """Rows that hold the marks of the template which is put around them."""
    marks = material.marks
    if marks is None:
        return None
    ids = [example.id for example, _ in material.asked if any(marks.stand_in(m.content) for m in example.messages)]
    shown = " or ".join(repr(mark) for mark in marks.telling or (marks.user,))
    return fault(
        by_share(len(ids), len(material.examples)),
        ids,
        f"the row's own text already holds {shown}, which the model's chat template writes too, so the model would "
        "see the template twice. Give the bare question and answer, or `messages`, and let the template do its work",
    )


def other_template(material: Material) -> Fault | None:
    """Rows written in the template of another model."""
    found: dict[str, str] = {}
    for family, mark, token in _FAMILIES:
        if _foreign(material, mark, token):
            found |= {example.id: family for example in material.examples if _holds(example.messages, mark)}
    families = ", ".join(sorted(set(found.values())))
    return fault(
        "warning",
        found,
        f"the row's own text holds marks of the {families} template, and the model was not trained with them. Give the "
        "bare question and answer, or `messages`",
    )


def _foreign(material: Material, mark: str, token: str | None) -> bool:
    """Another template's mark; where the model has no template, only a mark that it has no token for."""
    marks = material.marks
    if marks is not None:
        return not any(mark in own or own in mark for own in (marks.user, marks.assistant) if own)
    return token is not None and token not in material.specials and not material.tokenizer.chat_template


def _holds(messages: Iterable[Message], mark: str) -> bool:
    return any(mark in message.content for message in messages)


def turns_dropped(material: Material) -> Fault | None:
    """Turns that do not appear in what the template writes; found by rendering each pattern of roles once."""
    if not material.tokenizer.chat_template:
        return None
    by_roles: dict[tuple[str, ...], list[str]] = {}
    for example, _ in material.asked:
        by_roles.setdefault(tuple(message.role for message in example.messages), []).append(example.id)
    lost = {roles: _lost(material, roles) for roles in by_roles}
    ids = [name for roles, names in by_roles.items() if lost[roles] for name in names]
    who = ", ".join(sorted({role for dropped in lost.values() for role in dropped}))
    return fault(
        "error",
        ids,
        f"the model's chat template leaves out messages of: {who}. The model never sees them. Put their text into the "
        "user's message (for a task: into `prompt.template`), or take a model whose template keeps them",
    )


def _lost(material: Material, roles: tuple[str, ...]) -> set[str]:
    text = render(material.tokenizer, roles)
    return set() if text is None else {role for index, role in enumerate(roles) if word_of(index) not in text}


def system_added(material: Material) -> Fault | None:
    """A template that writes a system message of its own where the row has none."""
    marks = material.marks
    if marks is None or not marks.added:
        return None
    ids = [example.id for example, _ in material.asked if example.messages[0].role != "system"]
    return fault(
        "note",
        ids,
        f"the model's chat template adds a system message of its own: {_shortened(marks.added)!r}. That is how the "
        "model was trained; write `prompt.system` in the task to replace it",
    )


def chat_without_template(material: Material) -> Fault | None:
    """A model that was made for conversations, and rows that reach it bare."""
    if material.tokenizer.chat_template:
        return None
    known = sorted(_CHAT_TOKENS & (material.specials | material.tokenizer.get_vocab().keys()))
    chatty = _CHAT_NAME.search(material.model) is not None
    if not known and not chatty:
        return None
    why = f"it is called '{material.model}'" if chatty else f"its vocabulary has {', '.join(known)}"
    return fault(
        "error" if chatty else "warning",
        [example.id for example, _ in material.asked],
        f"the tokenizer has no chat template, though {why}: questions and answers are put together bare, as the model "
        "never saw them. Take the tokenizer that came with the chat model (its chat_template.jinja or the "
        "`chat_template` of tokenizer_config.json may be missing); ignore this for a base model",
    )


def text_for_a_chat_model(material: Material) -> Fault | None:
    """Plain text for a model that reads conversations; worse if the text is a conversation."""
    chatty = bool(material.tokenizer.chat_template) or _CHAT_NAME.search(material.model) is not None
    bare = [document for document in material.documents if not _rendered(material, document.answer)]
    if not chatty or not bare:
        return None
    talks = [document.id for document in bare if _ASKS.search(document.answer) and _ANSWERS.search(document.answer)]
    if talks:
        return fault(
            "warning",
            talks,
            "the documents look like conversations, and plain text reaches this chat model without its template, with "
            "loss on questions too. Give them as `messages`, or as prompt and completion",
        )
    return fault(
        "note",
        [document.id for document in bare],
        "plain text is learned without the chat template that this model has; it may answer worse afterwards",
    )


def _rendered(material: Material, text: str) -> bool:
    """Whether the document was written in the model's own template, on purpose."""
    return material.marks is not None and material.marks.stand_in(text)


def special_in_content(material: Material) -> Fault | None:
    """Rows that hold special tokens literally, where the template's own marks do not explain it."""
    # A special token of one or two signs may be a word's, as in the vocabularies of some byte-level models.
    texts = sorted((text for text in material.specials if len(text) > 2), key=len, reverse=True)
    if not texts:
        return None
    pattern = re.compile("|".join(map(re.escape, texts)))
    explained = material.marks
    found: dict[str, str] = {}
    for example in material.examples:
        for message in example.messages:
            hit = pattern.search(message.content)
            if hit and not (explained and explained.stand_in(message.content)):
                found[example.id] = hit.group()
    shown = ", ".join(sorted(set(found.values()))[:3])
    return fault(
        "note" if len(material.documents) == len(material.examples) else "warning",
        found,
        f"the row's own text holds special tokens ({shown}): the model reads them as control signs, not as text, and a "
        "turn may end in the middle. Remove or rewrite them, unless they are meant",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
