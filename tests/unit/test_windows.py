"""Windows with a stride, and what of a text lies in each of them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fairtune.data import encode_all, text_sizes, to_examples, windows
from fairtune.models.scratch import character_tokenizer
from fairtune.study import Prompt, Task
from tests import tiny

texts_of_few_letters = st.text("ab\n ñ😀", min_size=1, max_size=40).filter(str.strip)
documents = st.lists(texts_of_few_letters, min_size=1, max_size=3, unique=True)


def read(texts):
    return to_examples([tiny.row({"text": text}) for text in texts], None, Prompt())


@settings(deadline=None)
@given(documents, st.integers(2, 12), st.integers(1, 14))
def test_any_stride_predicts_every_token_but_the_first_exactly_once(texts, length, stride):
    if max(map(len, texts)) < 2:
        return
    tokenizer = character_tokenizer(texts)
    whole = encode_all(read(texts), tokenizer)
    cut = windows(whole, length, tokenizer.decode, stride)
    step = min(stride, length - 1)
    for row, document in enumerate(whole):
        own = [index for index in range(len(cut)) if cut.scored(index)[0] == row]
        predicted = []
        for index in own:
            item, (_, first) = cut[index], cut.scored(index)
            learned = [place for place, carries in enumerate(item.supervised) if carries]
            # A run to the end of the window, after all the context that its stride leaves.
            assert learned == list(range(item.prompt_length, len(item.tokens)))
            assert item.prompt_length == (1 if index == own[0] else length - step)
            assert len(learned) <= (length - 1 if index == own[0] else step)
            assert len(item.tokens) <= length
            assert first == len(predicted) + 1
            assert cut.first_learned[index] == cut.prompt_lengths[index] == item.prompt_length
            predicted += item.tokens[item.prompt_length :]
        assert tuple(predicted) == document.tokens[1:]
    assert len({item.id for item in cut}) == len(cut)
    assert [len(item.tokens) for item in cut] == cut.lengths.tolist()


@settings(deadline=None)
@given(documents, st.integers(2, 12))
def test_a_stride_of_the_whole_window_is_none(texts, length):
    if max(map(len, texts)) < 2:
        return
    tokenizer = character_tokenizer(texts)
    whole = encode_all(read(texts), tokenizer)
    plain = windows(whole, length, tokenizer.decode)
    assert windows(whole, length, tokenizer.decode, length - 1) == plain
    # As they were before there was a stride: an item begins where the one before ended.
    begins = [(row, start) for row, one in enumerate(whole) for start in range(0, len(one.tokens) - 1, length - 1)]
    assert [item.tokens for item in plain] == [whole[row].tokens[start : start + length] for row, start in begins]
    assert [item.id for item in plain] == [f"{whole[row].id}@{start}" for row, start in begins]


def test_another_stride_asks_another_item_of_the_same_tokens():
    tokenizer = character_tokenizer(["abcdefghij"])
    whole = encode_all(read(["abcdefghij" * 2]), tokenizer)
    hashes = [{item.prompt_hash for item in windows(whole, 9, tokenizer.decode, stride)} for stride in (8, 4)]
    assert len(hashes[0] & hashes[1]) == 1  # the first window, which is scored whole either way


class WithoutOffsets:
    """A tokenizer that does not say where its tokens begin."""

    is_fast = False


@settings(deadline=None)
@given(documents, st.integers(2, 9), st.integers(1, 9), st.sampled_from(["characters", "bytes", "decoded"]))
def test_words_and_bytes_of_windows_add_up_to_those_of_the_text(texts, length, stride, kind):
    tokenizer = tiny.tokenizer() if kind == "bytes" else character_tokenizer(texts)
    examples = read(texts)
    whole = encode_all(examples, tokenizer)
    if max(len(item.tokens) for item in whole) < 2:
        return
    cut = windows(whole, length, tokenizer.decode, stride)
    sizes = text_sizes(cut, examples, WithoutOffsets() if kind == "decoded" else tokenizer)
    for row, example in enumerate(examples):
        own = [size for index, size in enumerate(sizes) if cut.scored(index)[0] == row]
        if not own:
            continue
        # "ñ" and "😀" are several tokens of bytes: a document's first token is then not its first letter.
        first = 0 if kind == "bytes" and len(example.answer[0].encode()) > 1 else 1
        begins = 2 if kind == "bytes" and example.answer.startswith("ab") else first
        assert sum(size for _, size in own) == len(example.answer[begins:].encode())
        if not example.answer[:begins].isspace():
            assert sum(words for words, _ in own) == len(re.split(r"\s+", example.answer))


def test_a_word_counts_in_the_window_that_ends_it():
    text = "one two three"
    tokenizer = character_tokenizer([text])
    cut = windows(encode_all(read([text]), tokenizer), 6, tokenizer.decode)
    assert [item.reference for item in cut] == ["ne tw", "o thr", "ee"]
    assert text_sizes(cut, read([text]), tokenizer) == [(1, 5), (1, 5), (1, 2)]


def test_a_stride_is_no_longer_than_its_window():
    with pytest.raises(ValidationError, match="is more than window: 64"):
        Task(name="t", train="a.txt", window=64, stride=65)
    assert Task(name="t", train="a.txt", window=64, stride=64).stride == 64
