import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairtune.data import (
    Examples,
    Row,
    encode_all,
    folded,
    leak_key,
    load_splits,
    micro_batches,
    overlap,
    packs,
    read_rows,
    shared_beginning,
    to_examples,
    updates,
)
from fairtune.data.cut import cut_to, require_context
from fairtune.data.encode import Encoded, stop_tokens
from fairtune.data.split import take
from fairtune.errors import DataError
from fairtune.study import Prompt, Task, load_task
from fairtune.tasks import TASKS
from tests import tiny


def examples_of(*columns, prompt=None):
    made = [Row(row, f"data.jsonl, line {n}") for n, row in enumerate(columns, start=1)]
    return to_examples(made, None, prompt or Prompt())


# --- sources -------------------------------------------------------------------------------------------------------


def test_jsonl_keeps_rows_with_unusual_line_separators_inside(tmp_path):
    file = tiny.write_jsonl(tmp_path / "a.jsonl", [{"prompt": "a\u2028b", "completion": "c\x85d"}])
    assert [row.columns for row in read_rows("a.jsonl", tmp_path)] == [{"prompt": "a\u2028b", "completion": "c\x85d"}]
    assert file.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("[1]\n", "line 1: found list, expected an object"),
    ],
)
def test_bad_lines_are_told_by_file_and_line(tmp_path, text, words):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(DataError, match=words):
        list(read_rows("bad.jsonl", tmp_path))


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "niño"}'.encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        list(read_rows("latin.jsonl", tmp_path))
    with pytest.raises(DataError, match="no such file"):
        list(read_rows("none.jsonl", tmp_path))
    with pytest.raises(DataError, match="no such file in"):
        list(read_rows("data.xlsx", tmp_path))


@pytest.mark.parametrize("text", ["cldr:en", "cldr:en-xx", "cldr:en-es-fr", "cldr:"])
def test_locales_that_do_not_exist_are_refused(tmp_path, text):
    with pytest.raises(DataError, match="write for example cldr:en-es"):
        list(read_rows(text, tmp_path))


# --- the shipped task ----------------------------------------------------------------------------------------------


def test_the_spanish_task_is_real_deterministic_and_disjoint_after_case_folding():
    task = load_task(TASKS["cldr-spanish"])
    splits = load_splits(task, TASKS["cldr-spanish"].parent)
    again = load_splits(task, TASKS["cldr-spanish"].parent)
    assert splits == again
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (384, 100, 200)
    sides = [{folded(example.question) for example in part} for part in (splits.train, splits.validation, splits.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    pairs = {e.question: e.answer for part in (splits.train, splits.validation, splits.test) for e in part}
    known = {"Germany": "Alemania", "Spanish": "español", "Japanese Yen": "yen japonés", "Cape Verde": "Cabo Verde"}
    found = {word: pairs[word] for word in known if word in pairs}
    assert found
    assert found.items() <= known.items()


def test_every_kind_of_name_and_date_is_there(tmp_path):
    rows = list(read_rows("cldr:en-es", tmp_path))
    kinds = {row.columns["kind"] for row in rows}
    assert kinds == {"territories", "currencies", "languages", "dates"}
    assert len({folded(row.columns["prompt"]) for row in rows}) == len(rows) > 1300


# --- shapes --------------------------------------------------------------------------------------------------------


def test_both_shapes_become_conversations():
    pair, chat = (
        examples_of({"prompt": "a", "completion": "b"}, prompt=Prompt(system="s", template="<{prompt}>"))[0],
        examples_of({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})[0],
    )
    assert [(m.role, m.content) for m in pair.messages] == [("system", "s"), ("user", "<a>"), ("assistant", "b")]
    assert [(m.role, m.content) for m in chat.messages] == [("user", "a"), ("assistant", "b")]


def test_a_rows_own_system_message_wins():
    turns = [{"role": r, "content": c} for r, c in (("system", "own"), ("user", "a"), ("assistant", "b"))]
    assert examples_of({"messages": turns}, prompt=Prompt(system="task"))[0].messages[0].content == "own"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"prompt": "a", "completion": ""}, "line 1: 'completion' must be text that is not empty"),
        ({"prompt": "a", "completion": None}, "line 1: 'completion' must be text"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no answer: the last turn is the user's"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "needs a role, one of system, user, assistant"),
        ({"messages": []}, "must be a list of turns"),
        ({"question": "a"}, "columns question fit no known shape"),
    ],
)
def test_rows_without_answers_are_told_by_line(columns, words):
    with pytest.raises(DataError, match=words):
        examples_of(columns)


def test_a_template_with_a_column_that_is_not_there_says_what_there_is():
    with pytest.raises(DataError, match="asks for 'q'; there are prompt, completion"):
        examples_of({"prompt": "a", "completion": "b"}, prompt=Prompt(template="{q}"))


# --- splits --------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=8, max_size=40), st.integers(1, 4))
def test_no_question_stands_on_both_sides_and_no_example_is_lost(letters, wanted):
    made = examples_of(
        *({"prompt": letter.upper() * (n % 2) or letter, "completion": "x"} for n, letter in enumerate(letters))
    )
    if len({leak_key(example) for example in made}) <= wanted:
        return
    taken, left = take(Examples(made), wanted, "test")
    assert sorted(e.id for e in [*taken, *left]) == sorted(e.id for e in made)
    assert overlap(left, taken) == []


def test_what_is_taken_does_not_depend_on_the_order_of_the_file():
    made = Examples(tiny.examples(30))
    forward, backward = take(made, 6, "test")[0], take(made[::-1], 6, "test")[0]
    assert {e.id for e in forward} == {e.id for e in backward}
    assert len(forward) == 6


def test_a_split_that_leaves_nothing_is_refused(tmp_path):
    tiny.write_jsonl(tmp_path / "two.jsonl", tiny.rows(2))
    with pytest.raises(DataError, match="leaves none to train on"):
        load_splits(Task(name="t", train="two.jsonl", test=2), tmp_path)


def test_the_fingerprint_follows_content_not_file_names(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(20))
    tiny.write_jsonl(tmp_path / "b.jsonl", tiny.rows(20))
    tiny.write_jsonl(tmp_path / "c.jsonl", tiny.rows(20, seed=1))
    a, b, c = (load_splits(Task(name="t", train=f"{n}.jsonl"), tmp_path).fingerprint() for n in "abc")
    assert a == b != c


def test_a_test_file_that_repeats_training_questions_is_noticed(tmp_path):
    rows = tiny.rows(10)
    tiny.write_jsonl(tmp_path / "train.jsonl", rows)
    tiny.write_jsonl(
        tmp_path / "test.jsonl", [{**rows[3], "prompt": rows[3]["prompt"].upper() + " "}, *tiny.rows(3, 9)]
    )
    splits = load_splits(Task(name="t", train="train.jsonl", test="test.jsonl", validation=1), tmp_path)
    assert splits.test[0].id in overlap([*splits.train, *splits.validation], splits.test)


# --- tokens --------------------------------------------------------------------------------------------------------


def shown(item, tokenizer):
    """The text with the supervised part in brackets."""
    text, inside = "", False
    for token, learned in zip(item.tokens, item.supervised, strict=True):
        if learned != inside:
            text += "[" if learned else "]"
            inside = learned
        text += tokenizer.decode([token])
    return text + ("]" if inside else "")


def test_only_answers_carry_loss_and_the_end_of_turn_always_does():
    tokenizer = tiny.tokenizer()
    turns = [("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    item = encode_all(examples_of({"messages": [{"role": r, "content": c} for r, c in turns]}), tokenizer)[0]
    assert shown(item, tokenizer) == (
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n[a1<|im_end|>]\n"
        "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n[a2<|im_end|>]"
    )
    assert tokenizer.decode(item.prompt).endswith("q2<|im_end|>\n<|im_start|>assistant\n")


def test_a_model_without_a_template_reads_the_prompt_as_it_is_and_learns_to_stop():
    tokenizer = tiny.tokenizer(chat=False)
    item = encode_all(examples_of({"prompt": "q: ", "completion": "a"}), tokenizer)[0]
    assert shown(item, tokenizer) == "q: [a<|endoftext|>]"


def test_a_template_that_rewrites_the_conversation_is_refused():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{% if add_generation_prompt %}ASK {% endif %}{{ messages[-1]['content'] }}"
    with pytest.raises(DataError, match="renders a conversation differently once it has an answer"):
        encode_all(examples_of({"prompt": "a", "completion": "b"}), tokenizer)


def test_a_template_that_raises_is_told_in_its_words():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system messages') }}"
    with pytest.raises(DataError, match="no system messages"):
        encode_all(examples_of({"prompt": "a", "completion": "b"}), tokenizer)


def test_long_examples_are_cut_and_counted():
    items = encode_all(
        examples_of({"prompt": "a", "completion": "b" * 50}, {"prompt": "a", "completion": "c"}), tiny.tokenizer()
    )
    longest = len(items[0].tokens)
    kept, cut = cut_to(items, longest - 10)
    assert (cut.examples, cut.tokens) == (1, 10)
    assert len(kept[0].tokens) == longest - 10
    assert kept[1] == items[1]


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused():
    items = encode_all(examples_of({"prompt": "a" * 50, "completion": "b"}), tiny.tokenizer())
    with pytest.raises(DataError, match=r"fill training\.max_length=20"):
        cut_to(items, 20)
    with pytest.raises(DataError, match="the model's context holds 64"):
        require_context(items, 0, 64)


def test_generation_stops_at_the_template_end_and_at_what_the_model_declares():
    assert stop_tokens(tiny.tokenizer(), 0) == [0, 2]
    assert stop_tokens(tiny.tokenizer(), [0, 1]) == [0, 1, 2]


# --- batches -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_uses_every_example_once(examples, batch_size, seed, epoch):
    plan = updates(examples, batch_size, seed, epoch)
    assert sorted(row for batch in plan for row in batch) == list(range(examples))
    assert all(len(batch) == batch_size for batch in plan[:-1])


def test_the_order_follows_the_seed_and_the_epoch():
    first = list(updates(50, 8, 0, 0))
    assert first == list(updates(50, 8, 0, 0)) == updates(50, 8, 0, 0)[:]
    assert first != list(updates(50, 8, 1, 0))
    assert first != list(updates(50, 8, 0, 1))


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.integers(1, 200))
def test_micro_batches_hold_every_row_once_within_the_budget(lengths, budget):
    cut = micro_batches(lengths, budget)
    assert sorted(row for batch in cut for row in batch.rows) == list(range(len(lengths)))
    for batch in cut:
        own = [lengths[row] for row in batch.rows]
        assert batch.computed == len(own) * max(own)
        assert batch.padding == batch.computed - sum(own)
        assert batch.computed <= budget or len(own) == 1


TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=9).map(tuple), min_size=1, max_size=30)


@given(TEXTS, st.integers(1, 60), st.booleans())
def test_packs_hold_every_text_once_and_a_shared_beginning_once(texts, budget, share):
    made = [Encoded(str(index), text, (False, *[True] * (len(text) - 1)), 1, "") for index, text in enumerate(texts)]
    later = [replace(item, supervised=(*[False] * (len(item.tokens) - 1), True)) for item in made]
    for batch in (made, later):
        cut = packs(batch, budget, share)
        assert sorted(row for pack in cut for row in pack.rows) == list(range(len(batch)))
        for pack in cut:
            own = [batch[row] for row in pack.rows]
            shared = shared_beginning(own) if share else 0
            assert all(item.tokens[:shared] == own[0].tokens[:shared] for item in own)
            assert not any(any(item.supervised[: shared + 1]) for item in own)
            assert pack.computed == sum(item.needed - shared for item in own) + shared
            assert pack.computed <= budget * 5 // 4 or len(own) == 1
        one_by_one = sum(item.needed for item in batch)
        assert sum(pack.computed for pack in cut) <= one_by_one


def test_texts_with_a_long_common_beginning_stay_together():
    instruction = tuple(range(500))
    made = [
        Encoded(str(row), (*instruction, 600 + row, *range(60)), (False,) * 540 + (True,) * 21, 540, "")
        for row in range(8)
    ]
    (pack,) = packs(made, 1024, share=True)  # 980 tokens; a pack a text would be 4,480
    assert pack.computed == 500 + 8 * 60
    (pack,) = packs(made * 1 + made[:2], 1024, share=True)  # a little too much is better than the beginning twice
    assert pack.computed == 500 + 10 * 60
    assert [each.computed for each in packs(made * 2, 1024, share=True)] == [980, 980]


# --- real data -----------------------------------------------------------------------------------------------------


def test_real_worked_answers_become_examples(shared_data):
    lines = (shared_data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").split("\n")[:50]
    rows = [{"prompt": row["question"], "completion": row["answer"]} for row in map(json.loads, lines)]
    for item in encode_all(examples_of(*rows), tiny.tokenizer()):
        assert item.tokens[-1] == 2
        assert item.supervised[-1]
        assert 0 < item.answer_tokens < len(item.tokens)


# --- templates and tokenizers of real models' kinds -----------------------------------------------------------------

THOUGHT = "<think>\\n\\n</think>\\n\\n"
THINKING = (  # as Qwen3 does: earlier answers lose their empty thoughts
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '"
    + THOUGHT
    + "' }}{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is false %}{{ '" + THOUGHT + "' }}"
    "{% endif %}{% endif %}"
)


def conversation(*turns):
    return examples_of({"messages": [{"role": role, "content": content} for role, content in turns]})


def test_a_template_that_rewrites_earlier_answers_learns_the_last_alone_and_loses_nothing():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = THINKING
    made = conversation(("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"))
    item = encode_all(made, tokenizer)[0]
    assert shown(item, tokenizer) == (
        "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n<|im_start|>user\nq2<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n[a2<|im_end|>]"
    )


def test_the_end_of_turn_is_the_first_special_token_after_the_answer():
    from tokenizers import AddedToken

    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens([AddedToken("\n", special=False, normalized=False)])  # as in Gemma
    item = encode_all(conversation(("user", "q"), ("assistant", "two\nlines")), tokenizer)[0]
    assert shown(item, tokenizer).endswith("[two\nlines<|im_end|>]")
    assert stop_tokens(tokenizer, None) == [2]
    tokenizer.chat_template += "{% if not add_generation_prompt %}<|endoftext|>{% endif %}"  # as in Phi-3
    item = encode_all(conversation(("user", "q"), ("assistant", "a")), tokenizer)[0]
    assert shown(item, tokenizer).endswith("[a<|im_end|>]")


def test_an_answer_is_tokenised_as_in_its_context():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<|im_end|>{% endif %}{% endfor %}"
    )
    whole = encode_all(conversation(("user", "x"), ("assistant", "ab")), tokenizer)[0]
    assert tokenizer.convert_ids_to_tokens(list(whole.tokens)) == ["x", "ab", "<|im_end|>"]
    # Here the boundary falls inside a token: the prompt must be what the model is given when it generates.
    across = encode_all(conversation(("user", "xa"), ("assistant", "b")), tokenizer)[0]
    assert tokenizer.convert_ids_to_tokens(list(across.tokens)) == ["x", "a", "b", "<|im_end|>"]


def test_a_date_in_a_prompt_is_fixed():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ date_string }} " + tiny.CHAT_TEMPLATE
    assert "26 Jul 2024" in tokenizer.decode(
        encode_all(conversation(("user", "q"), ("assistant", "a")), tokenizer)[0].tokens
    )


def test_scoring_looks_at_the_last_answer_only():
    from fairtune.data import only_last_answer

    tokenizer = tiny.tokenizer()
    item = encode_all(
        conversation(("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")), tokenizer
    )[0]
    assert shown(only_last_answer(item), tokenizer).count("[") == 1
    assert only_last_answer(item).answer_tokens == 3


def test_a_rows_own_system_message_makes_another_question_and_the_tasks_does_not():
    own = [("system", "document 1"), ("user", "Summarise."), ("assistant", "a")]
    other = [("system", "document 2"), ("user", "Summarise."), ("assistant", "b")]
    assert leak_key(conversation(*own)[0]) != leak_key(conversation(*other)[0])
    pair = {"prompt": "q", "completion": "a"}
    assert leak_key(examples_of(pair, prompt=Prompt(system="s"))[0]) == leak_key(examples_of(pair)[0])


def test_a_limit_is_kept_exactly_and_does_not_follow_the_order(tmp_path):
    rows = [*tiny.rows(12), *tiny.rows(12)]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    tiny.write_jsonl(tmp_path / "b.jsonl", rows[::-1])
    kept = [
        load_splits(Task(name="t", train=f"{n}.jsonl", limit=9, test=2, validation=2), tmp_path).train for n in "ab"
    ]
    assert len(kept[0]) == 9
    assert {e.question for e in kept[0]} == {e.question for e in kept[1]}
