"""Every detector finds its fault, and is quiet where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest

from fairtune.data import encode_all, make_example
from fairtune.data.diagnose import DETECTORS, Material, diagnose
from fairtune.data.diagnose.marks import read_marks
from fairtune.data.examples import Message
from tests.families import CHAT_TEMPLATE, GEMMA, LLAMA3, family

CHATS = ["chatml", "llama2", "llama3", "gemma"]
USER = {"chatml": "<|im_start|>user", "llama2": "[INST]", "llama3": "<|start_header_id|>user<|end_header_id|>"}
USER |= {"gemma": "<start_of_turn>user"}
# What the detectors say of any example of these tokenizers: nothing is wrong with them.
QUIET = {"answer_in_context"}


def talk(*turns, system=None):
    """A conversation of a user and an assistant by turns."""
    roles = ["user", "assistant"] * len(turns)
    said = [Message(role, text) for role, text in zip(roles, turns, strict=False)]
    return make_example((*([Message("system", system)] if system else []), *said))


def document(text):
    return make_example((Message("assistant", text),))


def material(tokenizer, *examples, **changes):
    return Material(examples, encode_all(examples, tokenizer), tokenizer, **changes)


def names(*arguments, **changes):
    return {finding.name for finding in diagnose(material(*arguments, **changes))} - QUIET


def found(name, *arguments, **changes):
    findings = {finding.name: finding for finding in diagnose(material(*arguments, **changes))}
    return findings.get(name)


@pytest.mark.parametrize("name", [*CHATS, "plain"])
def test_good_rows_have_no_findings(name):
    several = [] if name == "plain" else [talk("Two?", "dos", "Three?", "tres")]
    assert names(family(name), talk("Say one.", "uno"), *several, max_length=500) == set()


def test_every_detector_has_a_test_of_its_fault():
    here = Path(__file__).read_text(encoding="utf-8")
    assert not [name for name in DETECTORS if f'"{name}"' not in here]


@pytest.mark.parametrize("name", CHATS)
def test_marks_are_learned_from_the_template_itself(name):
    marks = read_marks(family(name))
    assert marks is not None
    assert marks.user == USER[name]
    assert marks.added == ""


# --- template ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHATS)
def test_a_row_that_was_rendered_already_is_found_in_every_family(name):
    tokenizer = family(name)
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    once, twice = talk("Hi", "uno"), talk(rendered, "dos")
    assert found("template_twice", tokenizer, once) is None
    finding = found("template_twice", tokenizer, once, twice)
    assert (finding.severity, finding.count, finding.share, finding.ids) == ("error", 1, 0.5, (twice.id,))
    assert USER[name] in finding.text


def test_a_few_rows_of_many_are_a_warning_and_a_file_of_them_an_error():
    rows = [talk(f"number {index}", "uno") for index in range(200)]
    finding = found("template_twice", family("chatml"), *rows, talk("<|im_start|>user\nHi", "dos"))
    assert finding.severity == "warning"


def test_marks_that_are_plain_words_count_only_together():
    tokenizer = family("vicuna")
    assert found("template_twice", tokenizer, talk("What is a USER: prompt?", "uno")) is None
    assert found("template_twice", tokenizer, talk("USER: Hi\nASSISTANT: ", "uno")) is not None


def test_a_mark_as_short_as_a_heading_tells_nothing_alone():
    tokenizer = family("vicuna", "{% for m in messages %}### {{ m['content'] }}</s>{% endfor %}")
    assert found("template_twice", tokenizer, talk("### Summary", "uno")) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chatml", "[INST] Hi [/INST]"),
        ("llama2", "<|im_start|>user\nHi<|im_end|>"),
        ("llama3", "<start_of_turn>user\nHi<end_of_turn>"),
        ("gemma", "### Instruction:\nHi\n\n### Response:"),
        ("plain", "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"),
    ],
)
def test_the_template_of_another_family_is_found(name, text):
    assert found("other_template", family(name), talk(text, "uno")) is not None
    assert found("other_template", family(name), talk("Hi", "uno")) is None


def test_a_model_without_template_may_be_asked_in_the_words_of_alpaca():
    assert found("other_template", family("plain"), talk("### Instruction:\nHi\n\n### Response:\n", "uno")) is None


def test_a_template_that_drops_the_system_message_is_found():
    kept, dropped = family("llama2"), family("gemma")
    row = talk("Hi", "uno", system="Be brief.")
    assert found("turns_dropped", kept, row) is None
    finding = found("turns_dropped", dropped, row, talk("Hi", "dos"))
    assert (finding.severity, finding.ids) == ("error", (row.id,))
    assert "system" in finding.text


def test_a_system_message_of_the_templates_own_is_noted_unless_the_row_has_one():
    own = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful robot<|im_end|>\n{% endif %}"
    tokenizer = family("chatml", own + CHAT_TEMPLATE)
    assert "You are a helpful robot" in found("system_added", tokenizer, talk("Hi", "uno")).text
    assert found("system_added", tokenizer, talk("Hi", "uno", system="Be brief.")) is None
    assert found("template_twice", tokenizer, talk("<|im_start|>user\nHi", "uno")) is not None


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma"])
def test_a_chat_vocabulary_without_its_template_is_found(name):
    row = talk("Hi", "uno")
    assert found("chat_without_template", family(name, None), row).severity == "warning"
    assert found("chat_without_template", family(name), row) is None
    assert found("chat_without_template", family("plain"), row) is None


def test_a_chat_model_is_known_by_its_name_too():
    row = talk("Hi", "uno")
    for name in ("SmolLM2-135M-Instruct", "gemma-2b-it", "llama-2-7b-chat-hf"):
        assert found("chat_without_template", family("plain"), row, model=name).severity == "error"
    assert found("chat_without_template", family("plain"), row, model="git-large") is None


def test_conversations_as_plain_text_are_found():
    talks, story = document("User: Hi\nAssistant: Hello\nUser: Bye"), document("It was a dark night.\nQueen: alas")
    assert found("text_for_a_chat_model", family("chatml"), talks).severity == "warning"
    assert found("text_for_a_chat_model", family("chatml"), story).severity == "note"
    assert found("text_for_a_chat_model", family("plain"), talks) is None
    assert found("text_for_a_chat_model", family("plain"), talks, model="tiny-chat").severity == "warning"
    meant = document("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nuno<|im_end|>\n")
    assert found("text_for_a_chat_model", family("chatml"), meant) is None


def test_special_tokens_in_a_rows_own_text_are_found():
    struck = talk("What does <s> mean in HTML?", "strike")
    assert found("special_in_content", family("llama2"), struck).ids == (struck.id,)
    assert found("special_in_content", family("chatml"), struck) is None
    assert found("special_in_content", family("plain"), document("one</s>two")).severity == "note"


# --- tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "template"), [("llama3", LLAMA3), ("gemma", GEMMA)])
def test_a_template_that_begins_twice_is_found(name, template):
    row = talk("Hi", "uno")
    assert found("doubled_bos", family(name), row) is None
    assert found("doubled_bos", family(name, "{{ bos_token }}" + template), row).severity == "error"


def test_a_row_that_begins_as_the_tokenizer_begins_is_found():
    assert found("doubled_bos", family("plain"), talk("<s>Hi", "uno")) is not None


@pytest.mark.parametrize("name", ["llama3", "gemma"])
def test_a_template_that_forgets_the_beginning_is_found(name):
    row = talk("Hi", "uno")
    forgetful = {"llama3": LLAMA3, "gemma": GEMMA}[name].replace("{{ bos_token }}", "")
    assert found("missing_bos", family(name), row) is None
    assert found("missing_bos", family(name, forgetful), row).severity == "warning"
    assert found("missing_bos", family("chatml"), row) is None


@pytest.mark.parametrize(("name", "end"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("plain", "</s>")])
def test_an_answer_that_brings_its_own_end_is_found(name, end):
    assert found("doubled_eos", family(name), talk("Hi", "uno")) is None
    assert found("doubled_eos", family(name), talk("Hi", "uno" + end)) is not None


@pytest.mark.parametrize("name", [*CHATS, "plain"])
def test_an_end_that_carries_no_loss_is_found(name):
    good = material(family(name), talk("Hi", "uno"))
    assert DETECTORS["end_not_supervised"](good) is None
    item = good.encoded[0]
    end = max(index for index, learned in enumerate(item.supervised) if learned)
    muted = replace(item, supervised=(*item.supervised[:end], False, *item.supervised[end + 1 :]))
    fault = DETECTORS["end_not_supervised"](replace(good, encoded=[muted]))
    assert fault is not None
    assert fault.severity == "error"


def test_a_template_that_ends_answers_with_words_is_found():
    row = talk("Hi", "uno")
    assert found("end_not_special", family("vicuna"), row) is not None
    assert found("end_not_special", family("llama2"), row) is None


def test_a_template_that_rewrites_earlier_answers_is_noted():
    last = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] if loop.last or m['role'] == 'user' }}"
    tokenizer = family("chatml", last + CHAT_TEMPLATE[CHAT_TEMPLATE.index("<|im_end|>") :])
    row = talk("Two?", "dos", "Three?", "tres")
    assert found("earlier_answers_not_learned", tokenizer, row).ids == (row.id,)
    assert found("earlier_answers_not_learned", family("chatml"), row) is None
    assert "without a chat template" in found("earlier_answers_not_learned", family("plain"), row).text
    assert found("earlier_answers_not_learned", tokenizer, talk("Two?", "dos")) is None


@pytest.mark.parametrize(("name", "nothing"), [("llama3", "<|eot_id|>"), ("gemma", "<eos>"), ("plain", " \n ")])
def test_empty_answers_are_found(name, nothing):
    blank = talk("Hi", nothing)
    assert found("empty_answers", family(name), talk("Hi", "uno"), blank).ids == (blank.id,)
    assert found("empty_answers", family(name), talk("Hi", "u")) is None


def test_answers_of_signs_alone_are_noted():
    assert found("answers_without_words", family("chatml"), talk("Hi", "…")) is not None
    assert found("answers_without_words", family("chatml"), talk("Hi", "7"), talk("Hi", "ñ")) is None


def test_what_a_length_limit_takes_from_answers_is_counted():
    tokenizer = family("plain")
    row = talk("12345", "67890")  # <s>, five, five, </s>: twelve tokens
    assert found("answers_cut", tokenizer, row, max_length=12) is None
    assert "3 supervised tokens" in found("answers_cut", tokenizer, row, max_length=9).text
    assert found("answers_lost", tokenizer, row, max_length=7) is None
    assert found("answers_lost", tokenizer, row, max_length=6).severity == "error"
    assert found("answers_cut", tokenizer, row, max_length=6) is None
    assert found("answers_lost", tokenizer, row) is None


def test_an_example_that_is_longer_than_the_model_reads_is_found_unless_it_is_cut():
    row = talk("12345", "67890")  # twelve tokens, of which the last is only predicted
    assert found("beyond_context", family("plain"), row, context=11) is None
    assert found("beyond_context", family("plain"), row, context=10).severity == "error"
    assert found("beyond_context", family("plain"), row, context=10, max_length=11) is None
    assert found("beyond_context", family("plain"), document("67890" * 9), context=10) is None


def test_a_quick_look_leaves_out_only_notes():
    examined = material(family("plain"), talk("Yes.", "Si"), talk("Hi", " "))
    left_out = set(diagnose(examined)) - set(diagnose(examined, quick=True))
    assert [finding.severity for finding in left_out] == ["note"]


def test_signs_that_a_tokenizer_does_not_know_are_found():
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2, "c": 3}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<unk>")
    strange = document("abX")
    assert found("unknown_tokens", tokenizer, document("abc"), strange).ids == (strange.id,)
    assert found("unknown_tokens", tokenizer, document("abc")) is None


def test_an_answer_that_merges_with_its_prompt_is_noted():
    tokenizer = family("plain")  # ".S" is one token
    assert found("answer_in_context", tokenizer, talk("Yes?", "Si")) is None
    assert found("answer_in_context", tokenizer, talk("Yes.", "Si")).severity == "note"


def test_an_answer_behind_a_space_of_the_template_is_noted():
    row = talk("Hi", "uno")
    assert found("answer_in_context", family("llama2"), row) is not None  # "[/INST] uno"
    assert [found("answer_in_context", family(name), row) for name in ("chatml", "llama3", "gemma")] == [None] * 3


def test_findings_come_worst_first_with_the_first_ids():
    rows = [talk(f"<|im_start|>user {index}", "…") for index in range(9)]
    findings = diagnose(material(family("chatml"), *rows))
    assert [finding.severity for finding in findings] == ["error", "note"]
    assert findings[0].ids == tuple(row.id for row in rows[:5])
    assert findings[0].count == 9
