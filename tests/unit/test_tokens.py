"""Tokens of whole data sets: the same as one by one, in a file read where it is looked at, under the right name."""

import copy
import gc
import json
import multiprocessing
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairtune.data import (
    Encoded,
    Example,
    Message,
    cut_to,
    encode_all,
    lengths_of,
    make_example,
    only_last_answer,
    require_context,
    windows,
)
from fairtune.data import encode as encode_module
from fairtune.data.template import Template
from fairtune.data.tokens import stream
from fairtune.data.tokens.key import content_of, token_key, tokenizer_key
from fairtune.data.tokens.splitter import Splitter
from fairtune.data.tokens.stream import lines_of
from fairtune.data.tokens.table import TokenTable, write_table
from fairtune.errors import DataError
from fairtune.execute.tokens import TokenStore
from tests import tiny

THOUGHT = "<think>\n\n</think>\n\n"
SIMPLE = {
    "chatml": tiny.CHAT_TEMPLATE,
    "default system": "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + "
    "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "nothing between": "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<|im_end|>{% endif %}"
    "{% endfor %}",
    "no end": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "more after the end": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}<|endoftext|>{% endif %}",
    "thoughts": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}"
    f"{{{{ {THOUGHT!r} }}}}{{% endif %}}{{{{ m['content'] }}}}<|im_end|>\n{{% endfor %}}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is false %}"
    f"{{{{ {THOUGHT!r} }}}}{{% endif %}}{{% endif %}}",
    "instructions": "{{ eos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ m['content'] ~ eos_token }}{% endif %}{% endfor %}",
    "a date": "{{ date_string }} " + tiny.CHAT_TEMPLATE,
    "braces": "{{ '{0} {a }' }}" + tiny.CHAT_TEMPLATE,
}
LOOKING = {
    "trimmed": tiny.CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim"),
    "asked whether": tiny.CHAT_TEMPLATE.replace(
        "{{ message['content'] }}", "{% if 'a' in message.content %}A{% endif %}{{ message.content }}"
    ),
    "under another name": "{% set all = messages %}" + tiny.CHAT_TEMPLATE.replace("in messages", "in all"),
    "held first": tiny.CHAT_TEMPLATE.replace(
        "{{ message['content'] }}", "{% set c = message['content'] %}{{ c.upper() if c == 'a' else c }}"
    ),
    "by a method": tiny.CHAT_TEMPLATE.replace("message['content']", "message.get('content')"),
    "escaped": tiny.CHAT_TEMPLATE.replace("{{ message['content'] }}", "{{ ('<b>' | safe) + message['content'] }}"),
    "through a macro": "{% macro say(m) %}{{ m.content }}{% endmacro %}"
    + tiny.CHAT_TEMPLATE.replace("message['content']", "say(message) | upper"),
    "filtered around": tiny.CHAT_TEMPLATE.replace(
        "{{ message['content'] }}", "{% filter upper %}{{ message['content'] }}{% endfilter %}"
    ),
    "the one before": tiny.CHAT_TEMPLATE.replace(
        "{{ message['content'] }}", "{% if loop.previtem == message %}again{% endif %}{{ message['content'] }}"
    ),
}
PIECES = ["a", "b", "ab", " ", "\n", "  ", "<|im_end|>", "<|im_start|>", "<|im", "_end|>", "<|endoftext|>", "é", "😀"]
PIECES += ["\u200d", "user\n", "</think>", "<b>", "\t", "[INST]", "{0}", "}"]
TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join).filter(str.strip)
ANY = TEXT | st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and text.isprintable())


@st.composite
def conversations(draw):
    turns = [Message("system", draw(ANY))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns += [Message("user", draw(ANY)), Message("assistant", draw(ANY))]
    return make_example(tuple(turns))


EXAMPLES = st.lists(conversations() | ANY.map(lambda text: make_example((Message("assistant", text),))), max_size=4)
quietly = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


def chat(template):
    made = tiny.tokenizer()
    made.chat_template = template
    return made


def some(count=60, seed=0):
    """Conversations of pieces that are hard to cut."""
    draw = random.Random(seed)

    def text():
        return "".join(draw.choices(PIECES, k=draw.randint(1, 7))) + draw.choice("ab")

    found = []
    for _ in range(count):
        turns = [Message("system", text())] if draw.random() < 0.3 else []
        for _ in range(draw.randint(1, 3)):
            turns += [Message("user", text()), Message("assistant", text())]
        found.append(make_example(tuple(turns)))
    return [*found, *(make_example((Message("assistant", text()),)) for _ in range(10))]


def batched(examples, tokenizer):
    return [line.encoded() for line in lines_of(examples, tokenizer)]


# --- the same tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SIMPLE, *LOOKING])
def test_many_at_once_are_the_same_as_one_by_one(name):
    tokenizer, examples = chat({**SIMPLE, **LOOKING}[name]), some()
    assert batched(examples, tokenizer) == encode_all(examples, tokenizer)


@quietly
@given(EXAMPLES, st.sampled_from([*SIMPLE.values(), *LOOKING.values(), None]))
def test_whatever_stands_in_a_text_the_tokens_are_those_of_one_by_one(examples, template):
    tokenizer = chat(template) if template else tiny.tokenizer(chat=False)
    assert batched(examples, tokenizer) == encode_all(examples, tokenizer)


@quietly
@given(conversations(), st.sampled_from([*SIMPLE.values(), *LOOKING.values()]), st.booleans())
def test_a_template_writes_what_transformers_writes(example, template, generate):
    made = Template(chat(template))
    messages = [{"role": message.role, "content": message.content} for message in example.messages]
    assert made(messages, generate) == made.asked(messages, generate)


@pytest.mark.parametrize("name", [*SIMPLE, *LOOKING])
def test_only_templates_that_never_look_at_a_text_are_filled_in(name):
    from transformers.utils.chat_template_utils import _compile_jinja_template

    from fairtune.data.form import is_form

    source = {**SIMPLE, **LOOKING}[name]
    assert is_form(_compile_jinja_template(source).environment.parse(source), source) == (name in SIMPLE)


def family(name):
    """Tokenizers of the kinds that real models have, trained on a line of text."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    model, trainer = {
        "unigram": (models.Unigram(), trainers.UnigramTrainer),
        "wordpiece": (models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer),
    }.get(name, (models.BPE(unk_token="<unk>"), trainers.BpeTrainer))
    inner = Tokenizer(model)
    inner.pre_tokenizer = {
        "metaspace first": pre_tokenizers.Metaspace(prepend_scheme="first"),
        "metaspace always": pre_tokenizers.Metaspace(prepend_scheme="always"),
        "unigram": pre_tokenizers.Metaspace(),
        "prefix space": pre_tokenizers.ByteLevel(add_prefix_space=True),
        "wordpiece": pre_tokenizers.BertPreTokenizer(),
        "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]),
    }.get(name, pre_tokenizers.ByteLevel(add_prefix_space=False))
    if name == "prepended":
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        inner.pre_tokenizer = None
    if name == "wordpiece":
        inner.normalizer = normalizers.BertNormalizer()
    special = ["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    options = {"vocab_size": 90, "special_tokens": special, "show_progress": False}
    if name == "unigram":
        options["unk_token"] = "<unk>"
    inner.train_from_iterator(["a ab abb user assistant system ab <b> [INST] 12 a\n b"] * 3, trainer(**options))
    for token in special:
        inner.add_special_tokens([AddedToken(token, special=True, rstrip=name == "takes spaces", normalized=False)])
    if name == "newline":
        inner.add_tokens([AddedToken("\n", normalized=False), AddedToken("ab", normalized=True)])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", unk_token="<unk>")
    made.chat_template = SIMPLE["default system"]
    return made


FAMILIES = ["metaspace first", "metaspace always", "unigram", "prefix space", "wordpiece", "digits", "prepended"]
FAMILIES += ["takes spaces", "newline", "bytes"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_kind_of_tokenizer_gives_the_tokens_of_one_by_one(name):
    tokenizer, examples = family(name), some(80)
    for template in (tokenizer.chat_template, SIMPLE["nothing between"], None):
        tokenizer.chat_template = template
        assert batched(examples, tokenizer) == encode_all(examples, tokenizer)


def test_texts_are_cut_only_where_that_is_sure_to_change_nothing():
    assert {name for name in FAMILIES if not Splitter(family(name)).signs} == {"metaspace first", "takes spaces"}


def test_the_settings_of_an_earlier_call_change_nothing():
    tokenizer, examples = tiny.tokenizer(), tiny.examples(5)
    expected = encode_all(examples, tokenizer)
    tokenizer("a", truncation=True, max_length=2, padding="max_length")
    assert batched(examples, tokenizer) == expected


def test_a_tokenizer_with_ways_of_its_own_keeps_them():
    from transformers import PreTrainedTokenizerFast

    class Own(PreTrainedTokenizerFast):
        def _encode_plus(self, text, *arguments, **options):
            texts = [text.lower()] if isinstance(text, str) else [one.lower() for one in text]
            found = super()._encode_plus(texts, *arguments, **options)
            return {"input_ids": found["input_ids"][0] if isinstance(text, str) else found["input_ids"]}

        def apply_chat_template(self, *arguments, **options):
            return super().apply_chat_template(*arguments, **options).replace("user", "USER")

    made = tiny.tokenizer()
    own = Own(tokenizer_object=made.backend_tokenizer, eos_token=made.eos_token)
    own.chat_template = made.chat_template
    examples = [make_example((Message("user", "AB"), Message("assistant", "Ab")))]
    (item,) = batched(examples, own)
    assert [item] == encode_all(examples, own)
    assert own.decode(item.tokens) == "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\nab<|im_end|>"


def test_faults_are_told_as_one_by_one():
    examples = [make_example((Message("user", "a"), Message("assistant", "b")))]
    for template in ("{% if add_generation_prompt %}ASK {% endif %}{{ messages[-1]['content'] }}", "{{ 1 +"):
        with pytest.raises(DataError) as one:
            encode_all(examples, chat(template))
        with pytest.raises(DataError) as many:
            batched(examples, chat(template))
        assert str(one.value) == str(many.value)


def test_one_text_may_be_cut_in_two_ways():
    turns = [("x", "ab"), ("xa", "b"), ("x", "ab")]
    examples = [make_example((Message("user", one), Message("assistant", other))) for one, other in turns]
    tokenizer = chat(SIMPLE["nothing between"])
    items = batched(examples, tokenizer)
    assert items == encode_all(examples, tokenizer)
    assert [item.prompt_length for item in items] == [1, 2, 1]


def test_an_answer_of_nothing_is_its_end():
    tokenizer = tiny.tokenizer()
    (item,) = batched([make_example((Message("user", "q"), Message("assistant", " ")))], tokenizer)
    assert tokenizer.decode(item.tokens[item.prompt_length :]) == " <|im_end|>"


def test_a_group_is_closed_by_examples_and_by_characters(monkeypatch):
    examples, tokenizer = some(20), tiny.tokenizer()
    expected = encode_all(examples, tokenizer)
    for limit in ("_EXAMPLES", "_CHARACTERS"):
        with monkeypatch.context() as patch:
            patch.setattr(stream, limit, 3)
            assert batched(examples, tokenizer) == expected


def test_a_long_document_is_read_in_pieces_that_end_with_a_line(monkeypatch):
    monkeypatch.setattr(encode_module, "LARGEST_DOCUMENT", 10)
    tokenizer = tiny.tokenizer()
    for text in ("four\nfive5\nsix666\n" * 3, "x" * 25, "a\n" + "y" * 20, "\n" * 21, "z" * 10):
        example = make_example((Message("assistant", text),))
        items = batched([example], tokenizer)
        assert items == encode_all([example], tokenizer)
        assert "".join(item.reference for item in items) == text
        assert all(len(item.reference) <= 10 for item in items)
        assert all(item.reference.endswith("\n") for item in items[:-1] if "\n" in item.reference)
        names = [example.id] if len(text) <= 10 else [f"{example.id}/{number}" for number in range(len(items))]
        assert [item.id for item in items] == names


# --- the table -----------------------------------------------------------------------------------------------------


def tables(tmp_path, examples, tokenizer):
    write_table(tmp_path / "t.arrow", lines_of(examples, tokenizer))
    return TokenTable.read(tmp_path / "t.arrow"), TokenTable.of(encode_all(examples, tokenizer))


def test_a_table_gives_back_what_was_put_into_it(tmp_path, monkeypatch):
    monkeypatch.setattr("fairtune.data.tokens.table._ROWS", 30)
    examples, tokenizer = some(100), tiny.tokenizer()
    expected = encode_all(examples, tokenizer)
    for table in tables(tmp_path, examples, tokenizer):
        assert table == expected
        assert table[-1] == expected[-1]
        assert table[95:20:-7] == expected[95:20:-7]
        assert lengths_of(table) == [len(item.tokens) for item in expected]
        assert table.supervised() == sum(item.answer_tokens for item in expected)
        assert table.supervised(20) == sum(sum(item.supervised[1:20]) for item in expected)
        assert [table.id_of(row) for row in (0, 100)] == [expected[row].id for row in (0, 100)]
        with pytest.raises(IndexError):
            table[len(expected)]


def test_an_empty_table_is_a_table(tmp_path):
    for table in tables(tmp_path, [], tiny.tokenizer()):
        assert (len(table), list(table), table.supervised()) == (0, [], 0)


def test_what_is_set_aside_while_a_table_is_made_comes_back_and_what_was_set_aside_before_stays():
    from fairtune.data.tokens.cache import _what_is_there_left_alone

    try:
        gc.unfreeze()
        with _what_is_there_left_alone():
            assert gc.get_freeze_count()
        assert not gc.get_freeze_count()
        gc.freeze()
        kept = gc.get_freeze_count()
        with _what_is_there_left_alone():
            assert gc.get_freeze_count() == kept
        assert gc.get_freeze_count() == kept
    finally:
        gc.freeze()  # as tests/conftest.py leaves it


def plain_cut(item, length):
    return Encoded(
        item.id, item.tokens[:length], item.supervised[:length], min(item.prompt_length, length), item.prompt_hash,
        item.reference,
    )  # fmt: skip


def test_what_is_cut_follows_from_each_example():
    items = [item for item in encode_all(some(), tiny.tokenizer()) if any(item.supervised[1:40])]
    kept, cut = cut_to(TokenTable.of(items), 40)
    assert kept == [plain_cut(item, 40) for item in items] == cut_to(items, 40)[0]
    assert lengths_of(kept) == [min(len(item.tokens), 40) for item in items]
    assert cut.examples == sum(len(item.tokens) > 40 for item in items) > 0
    assert cut.tokens == sum(max(0, len(item.tokens) - 40) for item in items)


def test_a_first_token_teaches_nothing():
    alone = Encoded("a", (1, 2, 3), (True, False, False), 1, "")
    late = Encoded("b", (1, 2, 3), (True, False, True), 1, "")
    assert TokenTable.of([alone, late]).first_learned.tolist() == [3, 2]
    with pytest.raises(DataError, match=r"1 training examples .* first: a"):
        cut_to([late, alone], 3)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(2, 9))
@settings(deadline=None, max_examples=40)
def test_windows_of_a_table_are_cut_where_they_are_looked_at(lengths, length):
    documents = [Encoded(f"d{n}", tuple(range(size)), (True,) * size, 0, "", "") for n, size in enumerate(lengths)]
    asked = Encoded("q", (1, 2, 3), (False, True, True), 1, "", "r")
    found = windows(TokenTable.of([*documents, asked]), length, lambda tokens: " ".join(map(str, tokens)))
    expected = [
        (f"{item.id}@{start}", item.tokens[start : start + length])
        for item in documents
        for start in range(0, len(item.tokens) - 1, length - 1)
    ]
    assert [(item.id, item.tokens) for item in found] == [*expected, ("q", (1, 2, 3))]
    assert lengths_of(found) == [len(item.tokens) for item in found]
    assert found.prompt_lengths.tolist() == [item.prompt_length for item in found]
    assert found.first_learned.tolist() == [1] * len(found)
    assert found[len(found) - 1] == only_last_answer(asked)
    assert cut_to(found, max(length, 3))[0] == found
    require_context(found, 0, max(length - 1, 2))


def test_looking_at_a_window_reads_no_more_of_its_document():
    class Spy(TokenTable):
        def tokens_of(self, index, start, end):
            seen.append(end - start)
            return super().tokens_of(index, start, end)

        def at(self, index):
            raise AssertionError("the whole document was read")

    seen: list[int] = []
    table = Spy.of([Encoded("d", tuple(range(1000)), (True,) * 1000, 0, "", "")])
    assert windows(table, 9, str)[50].tokens == tuple(range(400, 409))
    assert seen == [9]


# --- the cache -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))
    return tmp_path / "tokens"


def with_token(name):
    made = tiny.tokenizer()
    made.add_tokens([name])
    return made


def other_merges():
    made = tiny.tokenizer()
    described = json.loads(made.backend_tokenizer.to_str())
    described["model"]["merges"] = []
    made._tokenizer = type(made.backend_tokenizer).from_str(json.dumps(described))
    return made


def other_end():
    made = tiny.tokenizer()
    made.eos_token = "<|endoftext|>"
    return made


def splitting():
    made = tiny.tokenizer()
    made.split_special_tokens = True
    return made


CHANGES = {
    "template": lambda: chat(SIMPLE["more after the end"]),
    "no template": lambda: tiny.tokenizer(chat=False),
    "added token": lambda: with_token("uno"),
    "merges": other_merges,
    "end token": other_end,
    "special tokens as text": splitting,
}


def key(examples, tokenizer):
    return token_key(content_of(examples), tokenizer_key(tokenizer))


@pytest.mark.parametrize("what", CHANGES)
def test_another_tokenizer_is_another_key(what):
    assert key(tiny.examples(3), CHANGES[what]()) != key(tiny.examples(3), tiny.tokenizer())


def test_other_options_are_another_key(monkeypatch):
    first = key(tiny.examples(3), tiny.tokenizer())
    for name, value in {"VERSION": 0, "FIXED": {"enable_thinking": True}, "LARGEST_DOCUMENT": 5}.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"fairtune.data.tokens.key.{name}", value)
            assert key(tiny.examples(3), tiny.tokenizer()) != first
    with monkeypatch.context() as patch:
        patch.setattr("tokenizers.__version__", "0")
        assert key(tiny.examples(3), tiny.tokenizer()) != first


def changed(examples):
    first, *rest = examples
    question, answer = first.messages[-2:]
    yield "order", [*rest, first]
    yield "one less", rest
    yield "one twice", [first, *examples]
    yield "id", [Example("other", first.messages), *rest]
    yield "a letter", [Example(first.id, (question, Message("assistant", answer.content + "."))), *rest]
    yield "role", [Example(first.id, (Message("system", question.content), answer)), *rest]
    moved = Message("user", question.content + answer.content[0]), Message("assistant", answer.content[1:])
    yield "a letter moved over", [Example(first.id, moved), *rest]


def test_other_examples_are_another_key():
    examples = tiny.examples(4)
    keys = {name: key(other, tiny.tokenizer()) for name, other in changed(examples)}
    assert len({key(examples, tiny.tokenizer()), *keys.values()}) == len(keys) + 1


def test_the_same_again_is_read_and_not_made(cache, monkeypatch):
    examples = tiny.examples(6)
    first = TokenStore(tiny.tokenizer()).get(examples)
    tokenizer = tiny.tokenizer()
    tokenizer("a", truncation=True, max_length=1)  # leaves its mark on the tokenizer, and changes nothing
    monkeypatch.setattr("fairtune.data.tokens.cache.lines_of", None)
    again = TokenStore(tokenizer).get(copy.deepcopy(examples))
    assert (first.made, again.made) == (True, False)
    assert again.path == first.path
    assert again.table == first.table == encode_all(examples, tiny.tokenizer())


@pytest.mark.parametrize("damage", ["empty", "half", "other", "overwritten"])
def test_a_damaged_file_is_made_anew(cache, damage):
    examples = tiny.examples(6)
    path = TokenStore(tiny.tokenizer()).get(examples).path
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(
        {"empty": b"", "half": whole[: len(whole) // 2], "other": b"no table", "overwritten": whole[:-9] + b"\0" * 9}[
            damage
        ]
    )
    again = TokenStore(tiny.tokenizer()).get(examples)
    assert again.made
    assert again.table == encode_all(examples, tiny.tokenizer())
    assert path.read_bytes() == whole


def test_what_fails_leaves_nothing_behind(cache):
    def broken():
        yield from tiny.examples(3)
        raise DataError("the disk is gone")

    class Once:
        def __iter__(self):
            return self.parts.pop()

        parts = [broken(), iter(tiny.examples(3))]  # noqa: RUF012

    with pytest.raises(DataError, match="disk is gone"):
        TokenStore(tiny.tokenizer()).get(Once())
    assert [file.suffix for file in cache.iterdir()] == [".lock"]


def _made(_):
    return TokenStore(tiny.tokenizer()).get(tiny.examples(300)).made


def test_of_two_processes_at_once_one_makes_the_table(cache):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert sorted(pool.map(_made, range(2), chunksize=1)) == [False, True]
    assert len(list(cache.glob("*.arrow"))) == 1


# --- counted before anything is trained ----------------------------------------------------------------------------


def test_prepare_counts_what_a_run_will_read(cache, llama, tmp_path, capsys):
    from fairtune.cli import main

    rows = tmp_path / "rows.jsonl"
    tiny.write_jsonl(rows, tiny.rows(40))
    counted = []
    for _ in range(2):
        with pytest.raises(SystemExit) as done:
            main(["data", "prepare", str(rows), "--model", str(llama), "--max-length", "45", "--json"])
        assert done.value.code == 0
        counted.append(json.loads(capsys.readouterr().out))
    first, again = counted
    parts = {row["part"]: row for row in first}
    train = TokenTable.read(Path(parts["train"]["file"]))
    assert parts["train"]["tokens"] == sum(len(item.tokens) for item in train)
    assert parts["train"]["supervised_tokens"] == sum(item.answer_tokens for item in train)
    # One token a byte, and five bytes of role and lines around each text, and four signs, of which two turns have two.
    assert parts["train"]["template_tokens"] == len(train) * len("user\n\nassistant\n" + "####")
    assert parts["train"]["raw_tokens"] == parts["train"]["characters"]
    assert parts["train"]["cut_examples"] == sum(len(item.tokens) > 45 for item in train)
    assert parts["train"]["cut_tokens"] == sum(max(0, len(item.tokens) - 45) for item in train) > 0
    assert parts["test"]["cut_tokens"] is None
    assert sum(row["examples"] for row in first) == 40
    assert all(row["seconds"] > 0 for row in first)
    assert all(row["seconds"] is None for row in again)
    for name in ("tokens", "raw_tokens", "file"):
        assert [row[name] for row in again] == [row[name] for row in first]


def test_a_run_finds_what_was_prepared(cache, llama, tmp_path, monkeypatch):
    from fairtune.execute.data import open_data
    from fairtune.execute.items import encode_parts
    from fairtune.execute.prepare import prepare
    from fairtune.models.load import load_tokenizer

    opened = open_data(str(tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.rows(20))))
    prepare(opened, [str(llama)], None, lambda _: None)
    monkeypatch.setattr("fairtune.data.tokens.cache.lines_of", None)
    tokenizer = load_tokenizer(llama, False)
    parts = encode_parts(opened.splits, tokenizer)
    assert parts.train == encode_all(opened.splits.train, tokenizer)
    assert parts.longest == max(
        len(item.tokens) for part in (parts.train, parts.validation, parts.test) for item in part
    )
