"""Synonyms from WordNet's own files and from a user's."""

import random
import shutil
from pathlib import Path

import pytest

from fairtune.data import Message, make_example
from fairtune.data.augment import AUGMENTATIONS, Tools, add_examples, wordnet
from fairtune.data.augment.synonyms import read_synonyms, synonyms_fingerprint
from fairtune.errors import SpecError

LICENCE = "  1 This software and database is being provided to you, the LICENSEE\n"
FILES = {
    "data.noun": LICENCE
    + '00000001 03 n 02 Cat 0 true_cat 0 002 @ 00000009 n 0000 ~ 00000010 n 0000 | feline; "a cat"  \n'
    + "00000002 03 n 0b a 0 b 1 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k a 000 | eleven words  \n",
    "data.verb": LICENCE + "00000003 29 v 02 cat 0 vomit 0 001 @ 00000009 v 0000 02 + 02 00 + 08 00 | be sick  \n",
    "data.adj": LICENCE + "00000004 00 s 03 big 0 galore(ip) 0 out_of_reach(p) 0 000 | much  \n",
    "data.adv": LICENCE + "00000005 02 r 01 alone 0 000 | by itself  \n",
}


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without WordNet."""
    monkeypatch.setattr(wordnet, "usual_places", lambda: [tmp_path / "none"])


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_set_of_synonyms_is_a_line_and_counts_in_hexadecimal(tmp_path):
    write(tmp_path / "dict")
    found = read_synonyms("./dict", tmp_path, {"cat", "a", "big", "galore", "alone", "unknown"})
    assert found == {
        "cat": ["true cat", "vomit"],
        "a": list("bcdefghijk"),
        "big": ["galore", "out of reach"],
        "galore": ["big", "out of reach"],
    }


@pytest.mark.parametrize("place", ["dict", "corpora/wordnet"])
def test_wordnet_is_found_where_it_usually_lies(tmp_path, monkeypatch, place):
    monkeypatch.setenv("WNHOME", str(tmp_path))
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    places = [folder for folder in wordnet.usual_places() if folder.is_relative_to(tmp_path)]
    monkeypatch.setattr(wordnet, "usual_places", lambda: places)
    folder = write(tmp_path / place)
    assert wordnet.find() == folder
    plain = synonyms_fingerprint("wordnet", Path())
    if place.startswith("corpora"):  # as NLTK's downloader leaves it
        shutil.make_archive(str(folder), "zip", folder.parent, "wordnet")
        shutil.rmtree(folder)
        assert read_synonyms("wordnet", Path(), {"cat"}) == {"cat": ["true cat", "vomit"]}
        assert synonyms_fingerprint("wordnet", Path()) == plain


def test_a_machine_without_wordnet_is_told_how_to_get_one(nowhere):
    with pytest.raises(SpecError) as caught:
        synonyms_fingerprint("wordnet", Path())
    for words in ("augment.eda.synonyms", "wordnet-base", "nltk.downloader wordnet", "./words.tsv", "random_swap"):
        assert words in str(caught.value)


def test_operations_without_synonyms_need_no_wordnet(nowhere):
    kind = AUGMENTATIONS["eda"]
    options = kind.options(operations="random_swap")
    assert kind.fingerprint(options, Path()) == ""
    given = [make_example((Message("user", "a b c"), Message("assistant", "x")))]
    assert len(add_examples(kind, given, options, 0, Tools(Path(), Path(), None)).items) == 1


def test_a_file_of_ones_own_has_words_and_synonyms(tmp_path):
    (tmp_path / "mine.tsv").write_text(
        "# mine\n\nCasa\thogar, vivienda ,casa\ncasa\tmorada\nperro\tcan\n", encoding="utf-8"
    )
    found = read_synonyms("./mine.tsv", tmp_path, {"casa", "gato"})
    assert found == {"casa": ["hogar", "morada", "vivienda"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a\tb\nbad line\n", "line 2: found 'bad line'"), (b"a\t ,\n", "line 1"), (b"\xff\xfe\n", "is not UTF-8")],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path, content, words):
    (tmp_path / "mine.tsv").write_bytes(content)
    with pytest.raises(SpecError, match=words):
        synonyms_fingerprint("./mine.tsv", tmp_path)


@pytest.mark.parametrize("place", ["./none.tsv", "."])
def test_a_place_without_synonyms_is_told(tmp_path, place):
    with pytest.raises(SpecError, match=r"no such file|a folder without the files data\.noun"):
        read_synonyms(place, tmp_path, {"a"})


def test_the_real_wordnet_agrees_with_its_own_index():
    """The index files lead to the same sets by byte offsets: another way to the same answer."""
    folder = wordnet.find()
    if not isinstance(folder, Path) or not (folder / "index.noun").is_file():
        pytest.skip("needs WordNet's files on this machine (Debian: wordnet-base)")
    index = {kind: _index(folder / f"index.{kind}") for kind in ("noun", "verb", "adj", "adv")}
    words = random.Random(0).sample(sorted(set().union(*index.values())), 400)
    words = [word for word in words if "_" not in word] + ["dog", "run", "happy", "quickly"]
    found = read_synonyms("wordnet", Path(), set(words))
    for word in words:
        expected = set()
        for kind, table in index.items():
            content = (folder / f"data.{kind}").open("rb")
            with content:
                for offset in table.get(word, ()):
                    content.seek(offset)
                    fields = content.readline().decode().split(" ")
                    expected |= {fields[4 + 2 * n].split("(")[0].replace("_", " ") for n in range(int(fields[3], 16))}
        assert found.get(word, []) == sorted(other for other in expected if other.lower() != word)
    assert "domestic dog" in found["dog"]


def _index(file: Path) -> dict[str, list[int]]:
    """``lemma pos synset_cnt p_cnt [ptr…] sense_cnt tagsense_cnt offset…``"""
    table = {}
    for line in file.read_text().split("\n"):
        if line and not line.startswith("  "):
            fields = line.split()
            table[fields[0]] = [int(offset) for offset in fields[-int(fields[2]) :]]
    return table
