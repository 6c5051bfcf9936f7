"""Stand-ins for tokens, where there is no tokenizer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairtune.data import Example, Message, cut_to, encode_all, make_example, windows
from fairtune.data.estimate import AFTER_TURN, BEFORE_TURN, DEFAULT_SYSTEM, estimated, stand_ins, token_count
from fairtune.data.tokens.table import TokenTable
from tests import tiny

VOCABULARY = 49_152


def conversation(*turns):
    return make_example(tuple(Message(role, content) for role, content in turns))


CONVERSATIONS = [
    conversation(("user", "Qué hora es?"), ("assistant", "12:30")),
    conversation(
        ("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye"), ("assistant", "Bye!")
    ),
    conversation(("user", ""), ("assistant", "nothing asked")),
    conversation(("user", "你好"), ("assistant", "")),
]
DOCUMENTS = [conversation(("assistant", text)) for text in ("a", "some plain text\n" * 40, "")]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a", 1),
        ("abcdefgh", 3),  # eight letters are three tokens
        ("2024", 4),  # a digit is one
        ("12ab", 3),
        ("é" * 4, 6),  # eight bytes, one and a third to a token
    ],
)
def test_tokens_are_counted_by_bytes_of_three_kinds(text, count):
    assert token_count(text) == count == len(stand_ins(text, VOCABULARY))


@settings(max_examples=300, deadline=None)
@given(start=st.text(max_size=40), one=st.text(max_size=20), other=st.text(max_size=20))
def test_what_two_texts_begin_with_in_common_is_what_their_stand_ins_do(start, one, other):
    first, second = (stand_ins(start + rest, VOCABULARY) for rest in (one, other))
    common = stand_ins(start, VOCABULARY)[:-1]
    assert first[: len(common)] == second[: len(common)] == common
    assert all(0 <= token < VOCABULARY for token in first)
    assert len(first) == token_count(start + one)


def test_other_texts_have_other_stand_ins():
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in "klmnopqr" for c in "stuvwxyz"]
    assert len({stand_ins(word, VOCABULARY) for word in words}) == len(words)
    assert stand_ins("ab", VOCABULARY) != stand_ins("ab\x00", VOCABULARY)


@pytest.mark.parametrize("examples", [CONVERSATIONS, DOCUMENTS], ids=["conversations", "documents"])
def test_what_is_asked_of_all_examples_at_once_is_what_each_says(examples):
    items = estimated(examples, VOCABULARY)
    table = TokenTable.of(list(items))
    assert list(table) == list(items)
    for name in ("lengths", "prompt_lengths", "first_learned"):
        assert np.array_equal(getattr(items, name), getattr(table, name)), name
    for index, example in enumerate(examples):
        assert items.id_of(index) == example.id == items[index].id
        assert items.tokens_of(index, 1, 5) == items[index].tokens[1:5]
        assert items[index].reference == example.answer


def test_a_conversation_is_laid_out_as_a_template_does():
    user, answer = "What is it?", "A thing."
    (item,) = estimated([conversation(("user", user), ("assistant", answer))], VOCABULARY)
    before = DEFAULT_SYSTEM + BEFORE_TURN + token_count(user) + AFTER_TURN + BEFORE_TURN
    assert item.prompt_length == before
    assert item.supervised == (False,) * before + (True,) * (token_count(answer) + 1)
    assert item.tokens[before:-1] == stand_ins(answer, VOCABULARY)
    real = encode_all([Example("x", item_messages(user, answer))], tiny.tokenizer())[0]
    runs = [np.flatnonzero(np.diff(np.array(found.supervised, dtype=int))).size for found in (item, real)]
    assert runs == [1, 1]


def item_messages(user, answer):
    return (Message("user", user), Message("assistant", answer))


def test_loss_lies_on_every_answer_and_on_what_ends_it():
    items = estimated(CONVERSATIONS, VOCABULARY)
    assert [item.answer_tokens for item in items] == [
        sum(token_count(message.content) + 1 for message in example.messages if message.role == "assistant")
        for example in CONVERSATIONS
    ]


def test_conversations_share_what_their_texts_share_and_no_more():
    asked = "Translate the following sentence into Spanish, please: "
    ours, other = estimated(
        [conversation(("user", asked + tail), ("assistant", "x")) for tail in ("Where?", "Nobody knows.")], VOCABULARY
    )
    same = next(n for n, (a, b) in enumerate(zip(ours.tokens, other.tokens, strict=False)) if a != b)
    shared = DEFAULT_SYSTEM + BEFORE_TURN + token_count(asked)
    assert shared - 1 <= same <= shared


def test_stand_ins_are_cut_as_tokens_are():
    items = estimated(CONVERSATIONS, 300)
    cut, lost = cut_to(items, int(items.lengths.max()) - 1)
    assert lost.examples == 1
    assert max(len(item.tokens) for item in cut) == items.lengths.max() - 1
    whole = estimated(DOCUMENTS[1:2], VOCABULARY)
    pieces = windows(whole, 33, lambda tokens: "")
    assert sum(len(item.tokens) - 1 for item in pieces) == whole.lengths[0] - 1
    assert all(max(item.tokens) < 300 for item in cut)
