"""Changed copies of training examples: how many, of what, and what never changes."""

import math
import random
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from fairtune.data import Message, encode_all, leak_key, make_example
from fairtune.data.augment import AUGMENTATIONS, Instruction, Tools, add_encoded, add_examples, eda
from fairtune.data.augment.mask import masked
from fairtune.data.augment.variants import TRIES, quota
from fairtune.data.augment.words import Words, bare
from tests import tiny

SYNONYMS = {f"word{index}": [f"other{index}", f"more{index}"] for index in range(500)}
NOTHING = Instruction()
ALPHAS = [0.01, 0.05, 0.1, 0.29, 0.5, 1.0]


def text(words):
    return " ".join(f"word{index}" for index in range(words))


def examples(count, words=12):
    draw, letters = random.Random(7), "abcdefghijklmnop"
    questions = [" ".join(f"{letter}{index}" for letter in draw.sample(letters, words)) for index in range(count)]
    return [
        make_example((Message("user", question), Message("assistant", f"answer {index % 3}")))
        for index, question in enumerate(questions)
    ]


def add(kind, given, seed=0, held_out=(), instruction=NOTHING, **options):
    found = AUGMENTATIONS[kind]
    tools = Tools(Path(), Path(), None)
    return add_examples(found, given, found.options(**options), seed, tools, held_out, instruction)


def swapped(given, seed=0, **options):
    return add("eda", given, seed, **{"operations": ["random_swap", "random_deletion"], "alpha": 0.2, **options})


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("words", [1, 7, 40, 100])
def test_an_operation_changes_the_papers_number_of_words(alpha, words):
    n = max(1, int(round(alpha * words * 1e9) // 1e9))
    before, draw = text(words), random.Random(1)
    replaced = eda.synonym_replacement(before, alpha, draw, SYNONYMS).split()
    assert sum(a != b for a, b in zip(before.split(), replaced, strict=True)) == min(n, words)
    assert all(b in (a, *SYNONYMS[a]) for a, b in zip(before.split(), replaced, strict=True))
    longer = eda.random_insertion(before, alpha, draw, SYNONYMS).split()
    assert len(longer) == words + n
    assert [word for word in longer if word in SYNONYMS] == before.split()
    moved = eda.random_swap(before, alpha, draw, SYNONYMS).split()
    assert Counter(moved) == Counter(before.split())
    assert sum(a != b for a, b in zip(before.split(), moved, strict=True)) <= 2 * n


def test_one_swap_moves_two_words():
    moved = eda.random_swap(text(10), 0.1, random.Random(0), SYNONYMS).split()
    assert sum(a != b for a, b in zip(text(10).split(), moved, strict=True)) == 2


@pytest.mark.parametrize("alpha", ALPHAS)
def test_deletion_takes_each_word_with_the_rate_as_its_chance(alpha):
    words = 20_000
    left = eda.random_deletion(text(words), alpha, random.Random(3), SYNONYMS).split()
    spread = math.sqrt(words * alpha * (1 - alpha))
    assert abs(len(left) - max(1, words * (1 - alpha))) <= 5 * spread + 1
    assert is_part_of(left, text(words).split())


def test_stop_words_and_unknown_words_are_never_replaced():
    before = "the word1 is not xyzzy and"
    for seed in range(20):
        after = eda.synonym_replacement(before, 1.0, random.Random(seed), {**SYNONYMS, "the": ["a"], "not": ["no"]})
        assert after in ("the other1 is not xyzzy and", "the more1 is not xyzzy and")
    assert eda.random_insertion("the xyzzy", 1.0, random.Random(0), SYNONYMS) == "the xyzzy"


def test_case_punctuation_and_white_space_stay():
    after = eda.synonym_replacement(
        '  "Word1,"\n\n(word2)!\t', 1.0, random.Random(0), {"word1": ["x"], "word2": ["y z"]}
    )
    assert after == '  "X,"\n\n(y z)!\t'


@pytest.mark.parametrize("given", ["", " ", "a", " a ", "a b", "\n a\tb  c "])
def test_words_taken_apart_are_the_text_again(given):
    words = Words.of(given)
    assert str(words) == given
    for place in range(len(words.words) + 1):
        assert str(words.with_inserted(place, "new")).split() == [*words.words[:place], "new", *words.words[place:]]


@hypothesis.given(
    st.text(max_size=80),
    st.floats(0.01, 1),
    st.sampled_from([eda.synonym_replacement, eda.random_insertion, eda.random_swap, eda.random_deletion]),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_any_text_can_be_changed_and_keeps_a_word(any_text, alpha, operation):
    assert str(Words.of(any_text)) == any_text
    synonyms = {bare(word)[1].lower(): ["other"] for word in any_text.split()}
    changed = operation(any_text, alpha, random.Random(0), synonyms)
    assert bool(changed.strip()) == bool(any_text.strip())
    assert bool(masked(any_text, alpha, "#", random.Random(0)).strip()) == bool(any_text.strip())


@pytest.mark.parametrize(("rate", "words", "hidden"), [(0.15, 100, 15), (0.15, 4, 1), (0.15, 10, 2), (1, 6, 6)])
def test_masking_hides_a_number_of_words(rate, words, hidden):
    after = masked(text(words) + " ?!", rate, "[MASK]", random.Random(0))
    assert after.split().count("[MASK]") == hidden
    assert after.endswith(" ?!")
    assert masked("?!", rate, "[MASK]", random.Random(0)) == "?!"


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 1, 1.25, 3])
def test_the_ratio_is_of_all_examples_and_shared_evenly(ratio):
    names = [example.id for example in examples(40)]
    counts = quota(names, ratio, 0)
    assert sum(counts.values()) == round(ratio * 40)
    assert {counts.get(name, 0) for name in names} <= {math.floor(ratio), math.ceil(ratio)}
    assert len(swapped(examples(40), ratio=ratio).items) == round(ratio * 40)


def test_which_originals_are_varied_is_up_to_the_seed():
    names = [example.id for example in examples(40)]
    assert quota(names, 0.5, 0) == quota(names[::-1], 0.5, 0)
    assert quota(names, 0.5, 0) != quota(names, 0.5, 1)


@pytest.mark.parametrize("kind", ["eda", "mask"])
def test_a_seed_gives_one_result_whatever_the_order(kind):
    options = {"operations": ["random_swap"]} if kind == "eda" else {}
    given = examples(30)
    first = add(kind, given, ratio=1.5, **options)
    assert first == add(kind, given, ratio=1.5, **options)
    assert first == add(kind, given[::-1], ratio=1.5, **options)
    assert {item.id for item in first.items} != {
        item.id for item in add(kind, given, seed=1, ratio=1.5, **options).items
    }


def test_a_variant_depends_on_its_original_alone():
    given = examples(30)
    few = swapped(given[:10])
    assert set(few.items) <= set(swapped(given).items)


def test_copies_ask_something_new_and_say_where_they_come_from():
    given = examples(25)
    made = swapped(given, ratio=4).items
    keys = [leak_key(example) for example in (*given, *made)]
    assert len(set(keys)) == len(keys) == 125
    assert len({example.id for example in (*given, *made)}) == 125
    names = {example.id: example for example in given}
    for item in made:
        kind, _, origin = item.origin.partition(" of ")
        assert kind == "eda"
        assert item.answer == names[origin].answer
        assert item.id == make_example(item.messages).id


def conversation():
    turns = [
        ("system", text(8)),
        ("user", text(10)),
        ("assistant", text(9)),
        ("user", text(11)),
        ("assistant", text(7)),
    ]
    return make_example(tuple(Message(role, content) for role, content in turns), task_system=True)


@pytest.mark.parametrize("kind", ["eda", "mask"])
def test_only_the_user_changes_unless_answers_are_asked_for(kind):
    options = {"operations": ["random_swap"]} if kind == "eda" else {}
    for answers in (False, True):
        made = add(kind, [conversation()], ratio=5, answers=answers, **options).items
        assert len(made) == 5
        for item in made:
            changed = [a.role for a, b in zip(item.messages, conversation().messages, strict=True) if a != b]
            assert changed == (["user", "assistant", "user", "assistant"] if answers else ["user", "user"])
            assert item.task_system


def test_the_words_of_the_tasks_template_never_change():
    template = "Translate {{this}} now: {prompt}\nInto {language} please."
    asked = template.format(prompt=text(6), language="old spanish words")
    given = [make_example((Message("user", asked), Message("assistant", "x")))]
    made = add("mask", given, ratio=6, rate=0.5, instruction=Instruction(template)).items
    assert len(made) == 6
    for item in made:
        start, middle, end = "Translate {this} now: ", "\nInto ", " please."
        assert item.question.startswith(start)
        assert item.question.endswith(end)
        assert middle in item.question
        assert item.question.count("[MASK]") == 3 + 2


def test_the_list_of_labels_in_a_prompt_never_changes():
    given = [make_example((Message("user", f"Choose one of yes, no: {text(5)}"), Message("assistant", "yes")))]
    instruction = Instruction("Choose one of {labels}: {text}", frozenset({"yes, no"}))
    made = add("mask", given, ratio=5, rate=0.5, instruction=instruction).items
    assert len(made) == 5
    assert all(item.question.startswith("Choose one of yes, no: ") for item in made)
    assert all(item.question.count("[MASK]") == 2 for item in made)


def test_a_copy_that_asks_a_held_out_question_is_thrown_away():
    given = [make_example((Message("user", "a b"), Message("assistant", "x")))]
    held = [make_example((Message("user", " B  A"), Message("assistant", "y")))]
    assert [item.question for item in swapped(given, operations=["random_swap"]).items] == ["b a"]
    found = swapped_with(held, given)
    assert (found.items, found.not_made, found.held_out) == ((), 1, TRIES)


def swapped_with(held, given):
    return add("eda", given, held_out=held, operations=["random_swap"])


def test_what_cannot_be_varied_is_counted():
    given = [make_example((Message("user", word), Message("assistant", "x"))) for word in ("one", "two", "a b c d")]
    found = add("eda", given, operations=["random_deletion"], alpha=0.5)
    assert len(found.items) == 1
    assert (found.not_made, found.held_out) == (2, 0)


# Tokens


def dropped(given, tokenizer, seed=0, held_out=(), instruction=NOTHING, **options):
    kind = AUGMENTATIONS["token_dropout"]
    encoded = encode_all(given, tokenizer)
    held = encode_all(held_out, tokenizer)
    return encoded, add_encoded(kind, given, encoded, kind.options(**options), seed, tokenizer, held, instruction)


def is_part_of(short, long):
    left = iter(long)
    return all(token in left for token in short)


@pytest.mark.parametrize("chat", [True, False])
def test_tokens_go_from_the_users_words_alone(chat):
    tokenizer = tiny.tokenizer(chat)
    encoded, found = dropped(examples(30), tokenizer, ratio=2, rate=0.3)
    originals = {item.id: item for item in encoded}
    assert len(found.items) == 60
    for item in found.items:
        before = originals[item.id.split("-")[0]]
        assert is_part_of(item.tokens, before.tokens)
        assert item.tokens[item.prompt_length :] == before.tokens[before.prompt_length :]
        assert item.supervised[item.prompt_length :] == before.supervised[before.prompt_length :]
        assert not any(item.supervised[: item.prompt_length])
        assert len(item.tokens) == len(item.supervised) < len(before.tokens)
        if chat:
            prompt = tokenizer.decode(item.prompt)
            assert prompt.startswith("<|im_start|>user\n")
            assert prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_tokens_go_at_the_rate():
    tokenizer = tiny.tokenizer()
    given = [make_example((Message("user", text(2000)), Message("assistant", "x")))]
    (before,), found = dropped(given, tokenizer, rate=0.1)
    words = len(tokenizer(text(2000))["input_ids"])
    gone = len(before.tokens) - len(found.items[0].tokens)
    assert abs(gone - 0.1 * words) <= 5 * math.sqrt(words * 0.09)


def test_system_messages_earlier_answers_and_the_template_keep_their_tokens():
    tokenizer = tiny.tokenizer()
    template = "Say: {prompt}!"
    asked = template.format(prompt=text(30))
    turns = [("system", text(5)), ("user", asked), ("assistant", "Say: word1"), ("user", asked), ("assistant", "x")]
    given = [make_example(tuple(Message(role, content) for role, content in turns))]
    _, found = dropped(given, tokenizer, instruction=Instruction(template), rate=0.5)
    said = tokenizer.decode(found.items[0].tokens).split("<|im_start|>")
    assert said[1] == f"system\n{text(5)}<|im_end|>\n"
    assert said[3] == "assistant\nSay: word1<|im_end|>\n"
    for turn in (said[2], said[4]):
        assert turn.startswith("user\nSay: ")
        assert turn.endswith("!<|im_end|>\n")
        assert len(turn) < len(asked)


def test_a_templates_own_system_message_keeps_its_tokens():
    tokenizer = tiny.tokenizer()
    own = "<|im_start|>system\nI am word1 word2.<|im_end|>\n"
    tokenizer.chat_template = own + tokenizer.chat_template
    given = [make_example((Message("user", "I am word1 word2."), Message("assistant", "x")))]
    _, found = dropped(given, tokenizer, ratio=5, rate=0.5)
    assert len(found.items) == 5
    assert all(tokenizer.decode(item.tokens).startswith(own) for item in found.items)


def test_token_dropout_is_decided_by_seed_and_content_and_meets_no_held_out_prompt():
    tokenizer = tiny.tokenizer()
    given = examples(20)
    _, first = dropped(given, tokenizer)
    assert first == dropped(given[::-1], tokenizer)[1]
    assert first != dropped(given, tokenizer, seed=1)[1]
    short = [make_example((Message("user", "xy"), Message("assistant", "x")))]
    held = [make_example((Message("user", letter), Message("assistant", "x"))) for letter in "XY"]
    _, found = dropped(short, tokenizer, held_out=held, rate=0.5)
    assert (found.items, found.not_made) == ((), 1)
    assert found.held_out > 0
