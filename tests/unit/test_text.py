"""Plain text: one document, split at its end, cut into windows that predict every token once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairtune.data import encode_all, load_splits, overlap, read_rows, require_context, to_examples, windows
from fairtune.data.cut import only_last_answer
from fairtune.errors import DataError
from fairtune.models.scratch import character_tokenizer
from fairtune.study import Prompt, Task
from tests import tiny


def document(folder, text, name="input.txt"):
    (folder / name).write_text(text, encoding="utf-8")
    return to_examples(read_rows(name, folder), None, Prompt())


def splits(folder, text, **keys):
    document(folder, text)
    return load_splits(Task(name="t", train="input.txt", **keys), folder)


def cut(text, length, tokenizer=None):
    tokenizer = tokenizer or character_tokenizer([text])
    (example,) = to_examples([tiny.row({"text": text})], None, Prompt())
    return (
        tokenizer,
        encode_all([example], tokenizer)[0],
        windows(encode_all([example], tokenizer), length, tokenizer.decode),
    )


@settings(deadline=None)
@given(st.text("ab\n ñ", min_size=2, max_size=60).filter(str.strip), st.integers(2, 20))
def test_windows_predict_every_token_but_the_first_exactly_once(text, length):
    _, whole, items = cut(text, length)
    predicted = [
        token for item in items for token, learned in zip(item.tokens, item.supervised, strict=True) if learned
    ]
    assert tuple(predicted) == whole.tokens[1:]
    assert "".join(item.reference for item in items) == text[1:]
    assert sum(item.answer_tokens for item in items) == len(text) - 1
    assert all(len(item.tokens) <= length for item in items)
    assert len({item.id for item in items}) == len(items)
    assert [only_last_answer(item) for item in items] == items


def test_a_window_is_as_long_as_the_context_and_the_token_that_follows():
    _, _, items = cut("abcdefghij" * 5, 9)
    assert [len(item.tokens) for item in items] == [9, 9, 9, 9, 9, 9, 2]
    assert items[1].tokens[0] == items[0].tokens[-1]
    require_context(items, 0, 8)
    with pytest.raises(DataError, match="needs 8 tokens"):
        require_context(items, 0, 7)


def test_other_tokens_make_another_item_and_the_same_tokens_the_same():
    first, again = cut("a text of words", 6)[2], cut("a text of words", 6)[2]
    assert first == again
    assert [item.prompt_hash for item in cut("a text of words", 6, tiny.tokenizer())[2]] != [
        item.prompt_hash for item in first
    ]


def test_nothing_to_predict_is_told():
    with pytest.raises(DataError, match="windows of 1 token predict nothing"):
        cut("some text", 1)
    with pytest.raises(DataError, match="a single token"):
        cut("x", 8)


def test_questions_with_answers_are_no_documents():
    items = tiny.encoded(3)
    assert windows(items, 4, tiny.tokenizer().decode) == items


def test_a_text_is_split_at_its_end_and_nothing_is_lost_or_moved(tmp_path):
    text = "".join(chr(97 + n % 26) for n in range(1000))
    parts = splits(tmp_path, text, test=0.1, validation=0.05)
    train, validation, test = (part[0].answer for part in (parts.train, parts.validation, parts.test))
    assert train + validation + test == text
    assert (len(test), len(validation)) == (100, 45)
    counted = splits(tmp_path, text, test=120, validation=30, limit=50)
    assert (len(counted.test[0].answer), len(counted.validation[0].answer)) == (120, 30)
    assert counted.train[0].answer == text[:50]
    assert parts.plain_text


def test_the_last_tenth_begins_where_nanogpt_cuts(tmp_path):
    # prepare.py of its shakespeare_char data: train_data = data[:int(n * 0.9)]
    for n in (1_115_394, 1001, 37):
        assert len(splits(tmp_path, "x" * n, test=0.1, validation=1).test[0].answer) == n - int(n * 0.9)


def test_the_fingerprint_of_text_follows_its_content_and_its_split(tmp_path):
    text = "a text to be learned, of some length"
    first = splits(tmp_path, text).fingerprint()
    (tmp_path / "other").mkdir()
    assert splits(tmp_path / "other", text).fingerprint() == first
    assert splits(tmp_path, text, test=0.3).fingerprint() != first
    assert splits(tmp_path, text + ".").fingerprint() != first


@pytest.mark.parametrize(("keys", "words"), [({"test": 20}, "nothing on one side"), ({"test": 21}, "for test")])
def test_a_split_that_leaves_nothing_is_refused(tmp_path, keys, words):
    with pytest.raises(DataError, match=words):
        splits(tmp_path, "a text to be learned", **keys)


def test_text_files_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(read_rows("none.txt", tmp_path))
    with pytest.raises(DataError, match="is empty"):
        document(tmp_path, " \n")
    (tmp_path / "latin.txt").write_bytes("niño".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        list(read_rows("latin.txt", tmp_path))
    with pytest.raises(DataError, match=r"leave out task\.prompt"):
        to_examples([tiny.row({"text": "a"})], None, Prompt(system="Write."))


def test_thirteen_words_in_a_row_that_stand_in_training_are_a_leak(tmp_path):
    words = [f"word{n}" for n in range(400)]
    seen, new = " ".join(words[7:33]), " ".join(f"new{n}" for n in range(30))
    (train,) = document(tmp_path, " ".join(words[:200]))
    (test,) = document(tmp_path, f"{seen.upper()}\n\n{new}")
    assert overlap([train], [test]) == [f"{test.id}@0", f"{test.id}@13"]
    assert overlap([test], [train]) == [
        f"{train.id}@13"
    ]  # words 13–25; the pieces beside it reach beyond what is shared


def test_characters_make_a_round_trip_and_unknown_ones_are_one_token():
    tokenizer = character_tokenizer(["ab\n\t", " ñ\u2028😀"])
    text = "b\n\tañ \u2028😀a  b "
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(tokens) == len(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer("aza", add_special_tokens=False)["input_ids"][1] == tokenizer.unk_token_id
    assert len(tokenizer) == 8 + 2
    assert tokenizer.eos_token_id not in tokens


def test_the_alphabet_follows_the_characters_not_their_order(tmp_path):
    assert character_tokenizer(["cab", "d"]).get_vocab() == character_tokenizer(["dcbaabcd"]).get_vocab()


def test_a_character_tokenizer_is_the_same_when_read_again(tmp_path):
    from transformers import AutoTokenizer

    made = character_tokenizer(["to be\nor not "])
    made.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("to be\nor not", "x not  x\n\n"):
        tokens = made(text)["input_ids"]
        assert again(text)["input_ids"] == tokens
        assert again.decode(tokens) == made.decode(tokens)
