"""Augmentation as an axis of a study: what may be written, what it expands into, what a run is called."""

import json
from dataclasses import replace

import jsonschema
import pytest

from fairtune.errors import DataError, SpecError
from fairtune.execute import read_request, vocabulary
from fairtune.execute.augment import grow, resolve_augment
from fairtune.execute.items import encode_parts
from fairtune.study import expand, study_schema
from tests import tiny
from tests.cli.command import study
from tests.unit.test_study import GOOD, identify, load, problems, runs_of

START = "name: n\ntask: cldr-spanish\nmodels: [m]\nmethods: [base, full]\nseeds: [0, 1]\n"


def labels(folder, text):
    return [(run.method.label, run.augment.label if run.augment else None, run.seed) for run in runs_of(folder, text)]


def test_augmentations_are_an_axis_of_methods_that_train(tmp_path):
    found = labels(tmp_path, START + "augment: [none, eda, {eda: {ratio: 0.5, alpha: [0.05, 0.2]}}]\n")
    expected = [None, "eda", "eda ratio=0.5 alpha=0.05", "eda ratio=0.5 alpha=0.2"]
    assert found == [("base", None, 0), *(("full", label, seed) for label in expected for seed in (0, 1))]


def test_cells_of_different_augmentation_are_different_cells(tmp_path):
    runs = runs_of(tmp_path, START + "augment: [none, mask, token_dropout]\n")
    assert [run.cell for run in runs if run.seed == 0] == [
        "m · base · fp32",
        "m · full · fp32",
        "m · full · fp32 · mask",
        "m · full · fp32 · token_dropout",
    ]
    assert len({run.run_id for run in runs}) == len(runs) == 7


def test_a_study_without_augmentation_keeps_its_ids(tmp_path):
    before = [run.run_id for run in runs_of(tmp_path, GOOD)]
    assert before[0] == "df6cde6cce"
    assert before[1] == "a089d3adab"
    assert [run.run_id for run in runs_of(tmp_path, GOOD + "augment: none\n")] == before
    assert [run.run_id for run in runs_of(tmp_path, GOOD + "augment: [none, none]\n")] == before
    more = [run.run_id for run in runs_of(tmp_path, GOOD + "augment: [none, mask]\n")]
    assert [run_id for run_id in more if run_id in before] == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("augment: ead", "augment[0]: unknown augmentation 'ead'; did you mean 'eda'?"),
        ("augment: [none, {eda: {ratoi: 1}}]", "augment[1].eda.ratoi: unknown; did you mean 'ratio'?"),
        ("augment: {mask: {rate: 1.5}}", "augment[0].mask.rate: 1.5: should be less than or equal to 1"),
        ("augment: {mask: {rate: [0.1, 2]}}", "augment[0].mask.rate: 2: should be less than or equal to 1"),
        ("augment: {eda: {operations: [swap]}}", "augment[0].eda.operations[0]: 'swap' is not allowed"),
        ("augment: {eda: {ratio: 0}}", "augment[0].eda.ratio: 0: should be greater than 0"),
        ("augment: {eda: {ratio: yes}}", "augment[0].eda.ratio: True: a number is needed"),
        ("augment: {token_dropout: {answers: true}}", "augment[0].token_dropout.answers: unknown"),
        ("augment: {back_translation: {there: a/b}}", "augment[0].back_translation.back: is required and missing"),
        ("augment: {none: {ratio: 1}}", "augment[0].none.ratio: unknown; allowed: nothing"),
        ("augment: []", "augment: []: "),
        ("augment: [{eda: {}, mask: {}}]", "augment[0]: {'eda': {}, 'mask': {}} is neither an augmentation's name"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(tmp_path, text, told):
    found = problems(tmp_path, START + text + "\n")
    assert len(found) == 1
    assert found[0].startswith(told)


def test_an_editor_knows_what_may_be_written():
    editor = jsonschema.Draft202012Validator(study_schema(vocabulary()))
    good = {"name": "n", "task": "cldr-spanish", "models": "m", "methods": "full"}
    for right in ("none", ["none", "eda", {"eda": {"ratio": [0.5, 1], "operations": ["random_swap"]}}]):
        assert editor.is_valid({**good, "augment": right})
    way = {"command": ["translate", "--to", "es"]}
    assert editor.is_valid({**good, "augment": {"back_translation": {"there": "a/b", "back": way}}})
    for wrong in ("ead", {"eda": {"ratoi": 1}}, "back_translation", []):
        assert not editor.is_valid({**good, "augment": wrong})


def test_a_run_is_named_by_the_content_of_its_synonyms_not_by_their_place(tmp_path):
    def ids(place, content):
        (tmp_path / place).write_text(content, encoding="utf-8")
        loaded = load(tmp_path, START + f"augment: {{eda: {{synonyms: ./{place}}}}}\n")
        runs = expand(loaded, vocabulary(), identify, "data", resolve_augment)
        assert runs[1].augment.root == str(tmp_path)
        return [run.run_id for run in runs if run.augment]

    first = ids("a.tsv", "casa\thogar\n")
    assert ids("b.tsv", "casa\thogar\n") == first
    assert not set(ids("b.tsv", "casa\tvivienda\n")) & set(first)


def test_files_that_change_after_planning_stop_the_run(tmp_path, gpt2):
    mine = tmp_path / "mine.tsv"
    mine.write_text("uno\teins\n", encoding="utf-8")
    request = read_request(study(tmp_path, gpt2, methods="full", augment={"eda": {"synonyms": "./mine.tsv"}}))
    (spec,), splits = request.specs, request.splits
    tokenizer = tiny.tokenizer(chat=False)
    parts = encode_parts(splits, tokenizer)
    grown = grow(spec, splits, parts, tokenizer, None)
    assert grown.account.added == len(grown.items) == grown.account.asked - grown.account.not_made
    assert grown == replace(grow(spec, splits, parts, tokenizer, None), account=grown.account)
    short = grown.with_room(len(grown.items[0].prompt))
    assert short.account.added + short.account.no_room == grown.account.added > short.account.added
    mine.write_text("uno\tun\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"augment\.eda: its files changed since the run was planned"):
        grow(spec, splits, parts, tokenizer, None)


def test_translating_models_are_identified_by_their_weights(tmp_path, llama, gpt2):
    def resolved(there):
        text = f"augment: {{back_translation: {{there: {there}, back: {{source: {gpt2}, beams: 2}}}}}}\n"
        (choice,) = load(tmp_path, START + text).augments
        return resolve_augment(choice, tmp_path)

    first, second = resolved(llama), resolved(gpt2)
    assert sorted(first.models) == ["back", "there"]
    assert first.models["there"].fingerprint in first.fingerprint
    assert first.fingerprint != second.fingerprint
    assert first.chosen == second.chosen == {}
    assert json.loads(first.model_dump_json())["models"]["there"]["kind"] == "folder"


def test_a_student_is_taught_by_the_run_with_its_own_augmentation(tmp_path):
    text = "name: n\ntask: cldr-spanish\nmodels: [{source: a}, {source: b}]\naugment: [none, mask]\nmethods:\n"
    text += "  - full: {models: a}\n  - distill: {models: b, teacher: {run: full, model: a}}\n"
    runs = runs_of(tmp_path, text)
    by_id = {run.run_id: run for run in runs}
    students = [run for run in runs if run.teacher]
    assert len(students) == 2
    assert all(by_id[run.teacher.run_id].augment == run.augment for run in students)


def test_plain_text_is_not_augmented(tmp_path, gpt2):
    (tmp_path / "input.txt").write_text(tiny.text(1200), encoding="utf-8")
    task = {"name": "text", "train": "input.txt", "metrics": ["perplexity"]}
    path = study(tmp_path, gpt2, task=task, augment=["none", "mask"])
    with pytest.raises(SpecError, match="augment: changes what is asked, and plain text asks nothing"):
        read_request(path)
    study(tmp_path, gpt2, task=task, augment="none")
    assert read_request(path).specs


def test_labels_are_never_changed(tmp_path, gpt2):
    rows = [{"text": f"row {index} is good", "label": ["yes", "no"][index % 2]} for index in range(20)]
    tiny.write_jsonl(tmp_path / "labels.jsonl", rows)
    task = {"name": "labels", "train": "labels.jsonl", "metrics": ["exact_match"]}
    path = study(tmp_path, gpt2, task=task, augment=["none", {"mask": {"answers": True}}])
    with pytest.raises(SpecError, match=r"augment\.mask\.answers: the answers are labels"):
        read_request(path)
    study(tmp_path, gpt2, task=task, augment=["none", "mask"])
    assert read_request(path).specs
