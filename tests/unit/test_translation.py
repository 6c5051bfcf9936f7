"""Back-translation: by commands and by models, remembered."""

import shutil
import sys
from pathlib import Path

import pytest

from fairtune.data import Message, make_example
from fairtune.data.augment import AUGMENTATIONS, Tools, Translator, add_examples
from fairtune.data.augment.translator import command_translator, translated
from fairtune.errors import DataError, ModelError, SpecError
from fairtune.execute import read_request
from fairtune.execute.augment import grow
from fairtune.execute.items import encode_parts
from tests import tiny
from tests.cli.command import study

REVERSE = """
import sys
from pathlib import Path
asked = Path("asked.txt")
for line in sys.stdin:
    with asked.open("a") as file:
        file.write(line)
    print(" ".join(reversed(line.split())))
"""
UPPER = "import sys\nprint(sys.stdin.read().upper(), end='')\n"


def command(folder: Path, name: str, text: str) -> list[str]:
    (folder / name).write_text(text, encoding="utf-8")
    return [sys.executable, name]


def examples(*questions):
    return [make_example((Message("user", question), Message("assistant", "x"))) for question in questions]


def options(folder: Path, back: str = "import sys\nprint(sys.stdin.read().replace('a', 'e'), end='')\n", **more):
    there = {"command": command(folder, "there.py", REVERSE)}
    kind = AUGMENTATIONS["back_translation"]
    return kind.options(there=there, back={"command": command(folder, "back.py", back)}, **more)


def test_a_prompt_goes_there_and_back_line_by_line(tmp_path):
    given = examples("a b\n\n  c d\n", "just bound")
    tools = Tools(tmp_path, tmp_path / "cache", None)
    made = add_examples(AUGMENTATIONS["back_translation"], given, options(tmp_path), 0, tools)
    assert {item.question for item in made.items} == {"b e\n\n  d c\n", "bound just"}
    assert sorted((tmp_path / "asked.txt").read_text().splitlines()) == ["a b", "c d", "just bound"]


def test_what_was_translated_is_remembered_until_the_translator_changes(tmp_path):
    tools = Tools(tmp_path, tmp_path / "cache", None)
    kind, asked = AUGMENTATIONS["back_translation"], tmp_path / "asked.txt"
    assert len(add_examples(kind, examples("a b", "c d"), options(tmp_path), 0, tools).items) == 2
    assert len(add_examples(kind, examples("a b", "c d", "e f"), options(tmp_path), 0, tools).items) == 3
    assert sorted(asked.read_text().splitlines()) == ["a b", "c d", "e f"]
    filled = kind.options(**options(tmp_path).model_dump(mode="json"))  # as a run reads them
    before = kind.fingerprint(filled, tmp_path)
    (tmp_path / "there.py").write_text(REVERSE + "# another\n")
    assert kind.fingerprint(filled, tmp_path) != before
    assert len(add_examples(kind, examples("a b"), filled, 0, tools).items) == 1
    assert asked.read_text().splitlines().count("a b") == 2


def test_a_prompt_that_comes_back_as_it_was_is_counted(tmp_path):
    tools = Tools(tmp_path, tmp_path / "cache", None)
    found = add_examples(AUGMENTATIONS["back_translation"], examples("one", "b c"), options(tmp_path), 0, tools)
    assert ([item.question for item in found.items], found.not_made) == (["c b"], 1)


def test_an_empty_translation_is_none(tmp_path):
    tools = Tools(tmp_path, tmp_path / "cache", None)
    blank = options(tmp_path, back="import sys\nfor line in sys.stdin: print()\n")
    found = add_examples(AUGMENTATIONS["back_translation"], examples("b c"), blank, 0, tools)
    assert (found.items, found.not_made) == ((), 1)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('one')", "was given 2 lines and wrote 1"),
        ("import sys; sys.exit('no such language')", "ended with code 1: no such language"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\n\\xff\\n')", "not UTF-8"),
    ],
)
def test_a_command_that_fails_says_so(tmp_path, script, words):
    failing = command_translator(command(tmp_path, "bad.py", script), tmp_path)
    with pytest.raises(DataError, match=words):
        translated(["a", "b"], failing, tmp_path / "cache")


def test_a_missing_program_is_told(tmp_path):
    with pytest.raises(SpecError, match="no program 'no-such-program', neither installed nor in"):
        command_translator(["no-such-program", "-x"], tmp_path)
    (tmp_path / "not-executable").write_text("")
    with pytest.raises(DataError, match="`not-executable` cannot be started"):
        translated(["a"], command_translator(["not-executable"], tmp_path), tmp_path / "cache")


def test_what_was_done_before_a_failure_is_kept(tmp_path):
    asked = []

    def translate(lines):
        asked.extend(lines)
        if "c" in lines:
            raise DataError("broken")
        return [line * 2 for line in lines]

    with pytest.raises(DataError):
        translated("abc", Translator("x", translate, 2), tmp_path)
    assert translated("ab", Translator("x", translate, 2), tmp_path) == {"a": "aa", "b": "bb"}
    assert asked == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"there": {}, "back": "x/y"}, "needs a model"),
        ({"there": {"source": "a/b", "command": ["x"]}, "back": "x/y"}, "and not both"),
        ({"there": {"command": ["x"], "beams": 2}, "back": "x/y"}, "has no other settings"),
        ({"there": "a/b", "back": "x/y", "ratio": 2}, "less than or equal to 1"),
    ],
)
def test_a_way_is_a_model_or_a_command(given, words):
    with pytest.raises(ValueError, match=words):
        AUGMENTATIONS["back_translation"].options(**given)


# Models


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """A random model with an encoder and a decoder."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 260}
    made = T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=2, pad_token_id=2, eos_token_id=1))
    made.generation_config.pad_token_id = 2
    made.save_pretrained(folder)
    tiny.tokenizer(chat=False).save_pretrained(folder)
    return folder


def translator(folder, **settings):
    import torch

    from fairtune.models.seq2seq import Decoding, open_translator

    return open_translator(folder, Decoding(**settings), torch.device("cpu"))


def test_a_model_translates_the_same_every_time(t5):
    lines = [f"{'word ' * (index % 5)}{index}" for index in range(20)]
    said = translator(t5)(lines)
    assert len(said) == 20
    assert len(set(said)) > 1
    assert translator(t5)(lines) == said
    assert translator(t5, beams=2)(lines) != said
    assert translator(t5, instruction="into Spanish: ")(lines) != said


def test_a_language_is_the_first_token_of_a_translation(t5):
    assert all(line.startswith("ab") for line in translator(t5, target_language="ab")(["one", "two three"]))
    with pytest.raises(ModelError, match="target_language 'xx_XX' is no token"):
        translator(t5, target_language="xx_XX")


def test_a_run_translates_with_its_models_and_remembers_it(t5, gpt2, tmp_path, monkeypatch):
    import torch

    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(t5, tmp_path / "t5")
    axis = {"back_translation": {"there": "./t5", "back": {"source": "./t5", "beams": 2}, "ratio": 0.5}}
    request = read_request(study(tmp_path, gpt2, methods="full", augment=axis))
    (spec,), tokenizer = request.specs, tiny.tokenizer(chat=False)
    parts = encode_parts(request.splits, tokenizer)
    first = grow(spec, request.splits, parts, tokenizer, torch.device("cpu"))
    assert first.account.asked == 8
    assert first.account.added > 0
    assert len(list((tmp_path / "cache" / "translations").iterdir())) == 2
    shutil.rmtree(tmp_path / "t5")  # nothing is left to translate
    assert grow(spec, request.splits, parts, tokenizer, torch.device("cpu")).items == first.items


def test_a_model_without_an_encoder_cannot_translate(llama):
    with pytest.raises(ModelError, match="no sequence-to-sequence model"):
        translator(llama)
