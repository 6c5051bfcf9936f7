"""Tokens made visible, a part in numbers, and the three ways to show them."""

import io
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fairtune.data import Encoded, encode_all, make_example
from fairtune.data.diagnose import Finding
from fairtune.data.examples import Message
from fairtune.data.shown import Shown, ShownExample
from fairtune.data.summary import bars, summarise
from fairtune.data.visible import Piece, pieces, token_bytes, visible
from fairtune.report.data_html import html_of
from fairtune.report.data_json import json_of
from fairtune.report.data_show import bar_of, print_shown, tokens_text
from tests import tiny
from tests.families import family

BYTES = tiny.tokenizer()


def talk(question, answer):
    return make_example((Message("user", question), Message("assistant", answer)))


def item(tokens, supervised=None):
    return Encoded("a", tuple(tokens), tuple(supervised or [True] * len(tokens)), 0, "")


def llama_like():
    """SentencePiece's way, as the fast tokenizers of Llama 2 and Gemma have it: ▁ for a space, bytes as <0x0A>."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "▁uno", "dos", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[], unk_token="<unk>"))
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", unk_token="<unk>")


# --- visible -------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_the_bytes_of_all_tokens_are_the_bytes_of_the_text(text):
    tokens = BYTES(text, add_special_tokens=False)["input_ids"]
    assert b"".join(token_bytes(tokens, BYTES)) == text.encode()
    guessed = "\ufffd" in "".join(piece.text for piece in pieces(item(tokens), BYTES))
    assert guessed <= ("\ufffd" in text)


def test_a_character_spread_over_tokens_shows_its_bytes_and_each_knows_the_character():
    tokens = BYTES("aé🙂", add_special_tokens=False)["input_ids"]
    found = pieces(item(tokens), BYTES)
    assert [piece.text for piece in found] == ["a", "\\xc3", "\\xa9", "\\xf0", "\\x9f", "\\x99", "\\x82"]
    assert [piece.character for piece in found] == ["", "é", "é", "🙂", "🙂", "🙂", "🙂"]


def test_bytes_that_make_no_character_are_shown_and_not_guessed():
    tokens = BYTES("🙂", add_special_tokens=False)["input_ids"][:2]
    found = pieces(item([*tokens, *BYTES("a")["input_ids"]]), BYTES)
    assert [(piece.text, piece.character) for piece in found] == [("\\xf0", ""), ("\\x9f", ""), ("a", "")]


def test_sentencepiece_tokens_are_read_as_text():
    tokenizer = llama_like()
    tokens = [1, 2, 3, *(4 + byte for byte in "ñ\n".encode())]
    found = pieces(item(tokens), tokenizer)
    assert [piece.text for piece in found] == ["<s>", " uno", "dos", "\\xc3", "\\xb1", "\n"]
    assert [piece.special for piece in found] == [True] + [False] * 5


def test_the_first_token_carries_no_loss_and_special_ones_are_known():
    tokens = [1, *BYTES("ab")["input_ids"], 2]
    assert [(piece.supervised, piece.special) for piece in pieces(item(tokens), BYTES)] == [
        (False, True),
        (True, False),
        (True, True),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b\n", "a·b↵\n"),
        ("\t\r", "⇥␍"),
        ("\u00a0\u200b\x07", "\\xa0\\u200b\\x07"),
        ("\u202e", "\\u202e"),
        ("\u0301", "◌\u0301"),
        ("", ""),
    ],
)
def test_nothing_in_a_token_is_unseen(text, shown):
    assert visible(text) == shown


# --- numbers -------------------------------------------------------------------------------------------------------


def test_a_part_in_numbers_agrees_with_counting_by_hand():
    tokenizer = family("plain")  # one token a byte; <s> before, </s> behind
    examples = [talk("12345", "678"), talk("1", "2")]
    encoded = encode_all(examples, tokenizer)
    found = summarise("train", examples, encoded, encoded, tokenizer, 8)
    assert (found.tokens, found.raw, found.template) == (10 + 4, 10, 4)
    assert (found.supervised, found.share) == (4 + 2, 6 / 14)
    assert found.lost is not None
    assert vars(found.lost) == {"examples": 1, "tokens": 2, "supervised": 2, "answers": 0}
    assert found.longest == ((examples[0].id, 10), (examples[1].id, 4))
    assert found.windows is None
    harder = summarise("train", examples, encoded, encoded, tokenizer, 6)
    assert harder.lost is not None
    assert vars(harder.lost) == {"examples": 1, "tokens": 4, "supervised": 4, "answers": 1}
    assert summarise("test", examples, encoded, encoded, tokenizer, None).lost is None


@given(st.lists(st.integers(1, 5000), max_size=60))
def test_every_length_stands_in_one_bar(lengths):
    found = bars(lengths)
    assert sum(bar.count for bar in found) == len(lengths)
    assert len(found) <= 15
    for bar in found:
        inside = [length for length in lengths if bar.low <= length and (bar.high is None or length <= bar.high)]
        assert bar.count == len(inside)


def test_a_few_long_rows_share_the_last_bar():
    found = bars([*range(100, 200), *range(100, 200), 9000])
    assert (found[-1].high, found[-1].count) == (None, 1)
    assert found[0].low == 100


@pytest.mark.parametrize(("share", "drawn"), [(0, ""), (1, "█" * 40), (0.5, "█" * 20), (1e-6, "▏"), (1 / 80, "▌")])
def test_bars_are_drawn_to_an_eighth_of_a_character(share, drawn):
    assert bar_of(share) == drawn


# --- shown ---------------------------------------------------------------------------------------------------------


def shown(kept=6):
    tokens = [
        Piece(1, "<s>", False, True),
        Piece(7, "Say", False, False),
        Piece(8, " <b>\n", False, False),
        Piece(9, "\\xc3", True, False, "ñ"),
        Piece(10, "\\xb1", True, False, "ñ"),
        Piece(2, "</s>", True, True),
    ]
    example = talk("12345", "678")
    tokenizer = family("plain")
    part = summarise("train", [example] * 2, *[encode_all([example] * 2, tokenizer)] * 2, tokenizer, 8)
    finding = Finding("answers_cut", "warning", 7, 0.5, ("a1", "a2"), "something <is> wrong")
    example_shown = ShownExample("a1", tuple(tokens), kept)
    return Shown(
        "rows.jsonl", "tiny", 8, "train", (part, replace(part, name="test", lost=None)), (finding,), (example_shown,)
    )


def printed(document, **console):
    out = io.StringIO()
    print_shown(document, Console(file=out, width=100, **console))
    return out.getvalue()


def test_without_colour_brackets_tell_what_carries_loss():
    text = printed(shown())
    assert "<s>│Say│·<b>↵│\n⟦\\xc3│\\xb1│</s>⟧│" in text
    assert "\x1b[" not in text
    assert "shared by tokens: ñ \\xc3\\xb1" in text
    for name, count, uncut in [
        ("tokens", "20", "20"),
        ("share with loss", "40.0%", "40.0%"),
        ("tokens lost", "4", "–"),
    ]:
        assert re.search(rf"^ *{name} +{count} +{uncut} *$", text, re.MULTILINE)
    assert "windows" not in text
    assert "warning answers_cut in 7 examples (50.0%): something <is> wrong. [a1, a2, …]" in text


def test_no_color_on_a_terminal_means_signs():
    assert "⟦" in printed(shown(), force_terminal=True, no_color=True)


def test_with_colour_loss_is_green_and_no_brackets_are_needed():
    text = printed(shown(), force_terminal=True, color_system="standard")
    assert "⟦" not in text
    assert "\x1b[1;4;32m</s>" in text


def test_the_cut_stands_at_its_place_with_what_is_lost():
    text = tokens_text(shown(kept=4).examples[0], colour=False).plain
    assert text == ("<s>│Say│·<b>↵│\n⟦\\xc3⟧│\n✂ cut here, 2 more are cut away, 2 of them supervised:\n⟦\\xb1│</s>⟧│")


def test_the_json_document_holds_summary_findings_and_tokens():
    document = json.loads(json_of(shown(kept=4)))
    assert document["summary"]["train"]["supervised"] == 8
    assert document["summary"]["train"]["lost"] == {"examples": 2, "tokens": 4, "supervised": 4, "answers": 0}
    assert document["findings"][0]["name"] == "answers_cut"
    assert document["examples"][0]["kept"] == 4
    assert document["examples"][0]["tokens"][3] == {
        "id": 9,
        "text": "\\xc3",
        "supervised": True,
        "special": False,
        "character": "ñ",
    }


def test_the_page_needs_nothing_else_and_runs_nothing_of_the_rows():
    page = html_of(shown(kept=4))
    assert "http" not in page
    assert "<script" not in page
    assert "<b>\n" not in page
    assert "·&lt;b&gt;↵" in page
    assert "something &lt;is&gt; wrong" in page
    assert 'class="loss bytes" data-about="9 · \\xc3, part of ñ · carries loss"' in page
    assert page.index("cut here") < page.index("&lt;/s&gt;")
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
