import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairtune.data.near import NearIndex, template_above
from fairtune.data.words import normalised

WORDS = [f"w{number}" for number in range(400)]


def runs(text):
    words = text.split(" ")
    return {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def jaccard(a, b):
    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


def sentences(draw, count, shortest=1, longest=40):
    return list({" ".join(draw.choices(WORDS, k=draw.randint(shortest, longest))) for _ in range(count)})


def edited(draw, text, edits):
    words = text.split(" ")
    for _ in range(edits):
        at = draw.randrange(len(words))
        words[at : at + draw.randint(0, 1)] = draw.choices(WORDS, k=draw.randint(0, 2)) or ["w0"]
    return " ".join(words)


def found(pairs):
    return {(int(a), int(b)) for a, b in zip(pairs.first, pairs.second, strict=True)}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_every_pair_that_brute_force_finds_is_found_and_no_other(seed):
    draw = random.Random(seed)
    held_out = sorted(sentences(draw, 25))
    others = sorted({*sentences(draw, 25), *(edited(draw, text, draw.randint(1, 6)) for text in held_out * 2)})
    expected = {(i, j) for i, a in enumerate(held_out) for j, b in enumerate(others) if jaccard(a, b) >= 0.8}
    pairs = NearIndex(held_out).search(others)
    whole = {pair for pair, inside in zip(sorted(found(pairs)), pairs.inside, strict=True) if not inside}
    assert whole == expected
    for i, j, alike, inside in zip(pairs.first, pairs.second, pairs.similarity, pairs.inside, strict=True):
        shared = len(runs(held_out[i]) & runs(others[j])) / len(runs(held_out[i]))
        assert alike == pytest.approx(shared if inside else jaccard(held_out[i], others[j]))
        assert alike >= 0.8


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_pairs_within_one_part_are_those_of_brute_force(seed):
    draw = random.Random(seed)
    texts = sentences(draw, 20)
    texts = sorted({*texts, *(edited(draw, text, draw.randint(1, 4)) for text in texts)})
    draw.shuffle(texts)
    expected = {(i, j) for j in range(len(texts)) for i in range(j) if jaccard(texts[i], texts[j]) >= 0.8}
    assert found(NearIndex(texts).within()) == expected


def test_the_order_of_the_texts_changes_nothing():
    draw = random.Random(0)
    held_out = sentences(draw, 40, 10)
    others = [*sentences(draw, 200), *(edited(draw, text, 1) for text in held_out)]
    before = {(held_out[i], others[j]) for i, j in found(NearIndex(held_out).search(others))}
    assert before
    draw.shuffle(held_out)
    draw.shuffle(others)
    assert {(held_out[i], others[j]) for i, j in found(NearIndex(held_out).search(others))} == before


def test_a_question_inside_a_long_document_is_found_and_a_short_one_is_not():
    draw = random.Random(1)
    document = draw.choices(WORDS, k=3_000)
    asked, short = " ".join(document[1_000:1_014]), " ".join(document[1_000:1_005])
    pairs = NearIndex([asked, short, " ".join(WORDS[:14])]).search([" ".join(document)])
    assert found(pairs) == {(0, 0)}
    assert pairs.inside.all()


def test_in_a_long_text_a_short_question_must_stand_whole_and_a_long_one_mostly():
    draw = random.Random(2)
    document = draw.choices(WORDS, k=500)
    short, long = document[100:114], document[200:230]
    short[-1], long[-1] = "another", "another"
    assert found(NearIndex([" ".join(short), " ".join(long)]).search([" ".join(document)])) == {(1, 0)}


def test_a_template_that_rows_share_makes_them_no_copies():
    template = " ".join(f"t{number}" for number in range(60))
    rows = [f"{template} {word} end" for word in WORDS[:100]]
    copy = f"{template} w3 end indeed"
    assert jaccard(rows[0], rows[1]) > 0.9
    assert not len(NearIndex(rows[:50]).search(rows[50:]))
    assert not len(NearIndex(rows).within())
    long = [f"{template} {text}" for text in sentences(random.Random(0), 100, 20)]
    assert found(NearIndex([long[7] + " more"]).search(long)) == {(0, 7)}
    assert template_above(len(rows)) < len(rows)
    assert len(NearIndex([copy]).search(rows)) <= 1


def test_edited_copies_of_one_text_are_no_template():
    draw = random.Random(3)
    text = " ".join(draw.choices(WORDS, k=60))
    copies = list({edited(draw, text, 1) for _ in range(15)})
    assert len(NearIndex([text]).search([*copies, *sentences(draw, 300)])) == len(copies)


def test_nothing_is_near_to_nothing():
    assert len(NearIndex([]).search(["a b c"])) == 0
    assert len(NearIndex(["a b c"]).search([])) == 0
    assert len(NearIndex([]).within()) == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is it?", "what  is\nit"),
        ("“Don’t,” he said…", '"don\'t" he said'),
        ("ﬁne Ｗｉｄｅ ½", "fine wide 1⁄2"),
        ("co\u00adop\u200berate", "cooperate"),
        ("Straße", "STRASSE"),
        ("well-known", "well known"),
        ("3 March, 1975.", "3 march 1975"),
        ("你好,世界", "你好 世界。"),
        ("हिन्दी!", "हिन्दी"),
    ],
)
def test_texts_that_differ_in_form_alone_are_the_same_after_normalising(a, b):
    assert normalised(a) == normalised(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is 3.5?", "What is 35?"),
        ("What is -5 + 2?", "What is 5 + 2?"),
        ("3*5", "3/5"),
        ("3 - 5", "3 5"),
        ("C# or C", "C or C"),
        ("x < y", "x > y"),
        ("10:30", "1030"),
        ("हिन्दी", "हन्दी"),
        ("?", "!"),
        ("1,000", "1.000"),
    ],
)
def test_marks_that_mean_something_stay(a, b):
    assert normalised(a) != normalised(b)


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)


def test_candidates_counted_out_a_few_at_a_time_give_the_same_pairs(monkeypatch):
    draw = random.Random(5)
    texts = list(dict.fromkeys(sentences(draw, 60)))
    copies = [f"{text} more" for text in texts[:30]]
    whole = found(NearIndex(copies).search(texts)), found(NearIndex([*texts, *copies]).within())
    assert len(whole[0]) >= 20
    monkeypatch.setattr("fairtune.data.near._CANDIDATES", 20)
    assert (found(NearIndex(copies).search(texts)), found(NearIndex([*texts, *copies]).within())) == whole
