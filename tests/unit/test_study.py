import json
from pathlib import Path

import pytest

from fairtune.errors import SpecError
from fairtune.execute import vocabulary
from fairtune.study import ModelChoice, RunSpec, Study, Task, expand, load_study, study_schema

GOOD = """
name: good
task: cldr-spanish
models: ./model
methods:
  - base
  - full: {learning_rate: 2e-5}
  - lora: {rank: [8, 16], alpha: 32, targets: [q_proj, v_proj]}
precision: [fp32, bf16]
training: {epochs: 2, batch_size: 4, learning_rate: 1e-4}
seeds: [0, 1]
budget: {memory: 20GiB, time: 1h}
"""


def load(folder: Path, text: str):
    file = folder / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return load_study(file, vocabulary())


def identify(ref, root):
    return ModelChoice(name=ref.source, source=ref.source, fingerprint=f"content of {ref.source}")


def runs_of(folder: Path, text: str, data: str = "data"):
    return expand(load(folder, text), vocabulary(), identify, data)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(folder, text)
    return [str(problem) for problem in caught.value.problems]


def test_a_study_expands_in_order_with_one_run_for_the_untouched_model(tmp_path):
    runs = runs_of(tmp_path, GOOD)
    assert [(r.precision, r.method.label, r.seed) for r in runs[:7]] == [
        ("fp32", "base", 0),
        ("fp32", "full", 0),
        ("fp32", "full", 1),
        ("fp32", "lora rank=8", 0),
        ("fp32", "lora rank=8", 1),
        ("fp32", "lora rank=16", 0),
        ("fp32", "lora rank=16", 1),
    ]
    assert len(runs) == 14
    assert len({run.run_id for run in runs}) == 14


def test_how_often_a_training_is_kept_is_no_part_of_a_run(tmp_path):
    usual = runs_of(tmp_path, GOOD)
    assert usual[1].checkpoint.every == 600
    for text, wanted in (("{updates: 7}", (7, None)), ("{every: 30min}", (None, 1800)), ("none", None)):
        runs = runs_of(tmp_path, GOOD + f"checkpoint: {text}\n")
        assert [run.run_id for run in runs] == [run.run_id for run in usual]
        kept = RunSpec.model_validate_json(runs[1].model_dump_json()).checkpoint
        assert (kept and (kept.updates, kept.every)) == wanted


@pytest.mark.parametrize("text", ["no", "false", "3", "[]", "{updates: 0}", "{updates: 3, every: 1h}", "{evry: 1h}"])
def test_a_checkpoint_that_is_not_understood_is_told(tmp_path, text):
    (problem,) = problems(tmp_path, f"{GOOD}checkpoint: {text}\n")
    assert problem.startswith("checkpoint")


def test_early_stopping_names_another_run_only_where_it_is_asked_for(tmp_path):
    usual, stopping = (
        runs_of(tmp_path, GOOD),
        runs_of(tmp_path, GOOD.replace("epochs: 2", "epochs: 2, early_stopping: 1")),
    )
    assert all((a.run_id == b.run_id) is (a.training is None) for a, b in zip(usual, stopping, strict=True))
    assert usual[1].run_id == "a089d3adab"  # as before the key was there


def test_a_method_overrides_the_recipe_and_the_rest_inherits_it(tmp_path):
    base, full, *_, lora = runs_of(tmp_path, GOOD)[:7]
    assert base.training is None
    assert (full.training.learning_rate, full.training.epochs) == (2e-5, 2)
    assert (lora.training.learning_rate, lora.training.batch_size) == (1e-4, 4)
    asked = {"rank": 16, "alpha": 32, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
    assert asked.items() <= lora.method.options.items()


def test_a_method_without_a_learning_rate_takes_its_own_default(tmp_path):
    runs = runs_of(tmp_path, "name: n\ntask: cldr-spanish\nmodels: [m]\nmethods: [full, lora]\n")
    assert [run.training.learning_rate for run in runs] == [2e-5, 2e-4]


def test_allowing_leaks_makes_no_other_run(tmp_path):
    strict, allowed = runs_of(tmp_path, GOOD), runs_of(tmp_path, GOOD + "allow_leakage: true\n")
    assert [run.run_id for run in strict] == [run.run_id for run in allowed]
    assert not any(run.allow_leakage for run in strict)
    assert all(run.allow_leakage for run in allowed)


def test_ids_follow_content_and_nothing_else(tmp_path):
    before = [run.run_id for run in runs_of(tmp_path, GOOD)]
    renamed = GOOD.replace("name: good", "name: other").replace("20GiB", "8GiB")
    assert [run.run_id for run in runs_of(tmp_path, renamed)] == before
    assert not set(before) & {run.run_id for run in runs_of(tmp_path, GOOD, data="other rows")}
    assert not set(before) & {run.run_id for run in runs_of(tmp_path, GOOD.replace("./model", "./other"))}


def test_the_untouched_model_keeps_its_id_when_only_training_changes(tmp_path):
    before, after = runs_of(tmp_path, GOOD), runs_of(tmp_path, GOOD.replace("epochs: 2", "epochs: 3"))
    assert before[0].run_id == after[0].run_id
    assert before[1].run_id != after[1].run_id


def test_an_id_is_the_same_on_every_machine(tmp_path):
    # A change here means that nobody's finished runs are found again: raise RunSpec's version on purpose, or mend it.
    assert runs_of(tmp_path, GOOD)[0].run_id == "df6cde6cce"


def test_all_problems_are_told_at_once_each_with_its_path_and_the_nearest_name(tmp_path):
    text = """
name: n
task: cldr-spanisch
models: [m]
methods:
  - bse
  - lora: {rnak: 8}
  - lora: {rank: 0}
  - {full: {}, lora: {}}
precision: [fp33]
trainin: {}
training: {epochs: yes, batchsize: 3}
evaluate: [blue]
seeds: [-1]
budget: {memory: 20 Gigs}
"""
    found = problems(tmp_path, text)
    for start in (
        "task: unknown task 'cldr-spanisch'; did you mean 'cldr-spanish'?",
        "methods[0]: unknown method 'bse'; did you mean 'base'?",
        "methods[1].lora.rnak: unknown; did you mean 'rank'?",
        "methods[2].lora.rank: 0: should be greater than or equal to 1",
        "methods[3]: ",
        "precision[0]: 'fp33' is not allowed; did you mean 'fp32'?",
        "trainin: unknown; did you mean 'training'?",
        "training.epochs: True: a number is needed",
        "training.batchsize: unknown; did you mean 'batch_size'?",
        "evaluate[0]: unknown metric 'blue'; did you mean 'bleu'?",
        "seeds[0]: -1: should be greater than or equal to 0",
        "budget.memory: '20 Gigs': '20 Gigs' is not an amount",
    ):
        assert any(line.startswith(start) for line in found), (start, found)
    assert len(found) == 12


def test_missing_keys_and_inline_tasks_are_told_by_path(tmp_path):
    assert sorted(problems(tmp_path, "name: n\ntask: {name: t, trian: a.jsonl}\nmethods: [base]\n")) == [
        "models: is required and missing",
        "task.train: is required and missing",
        f"task.trian: unknown; did you mean 'train'? allowed: {', '.join(sorted(Task.model_fields))}",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "line 1, column 6"),
        ("name: n\nname: m\n", "'name' is given twice"),
        ("- a\n", "holds a list"),
        ("", "holds nothing"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_what_is_not_a_mapping_in_yaml_is_told_with_its_place(tmp_path, text, words):
    assert words in problems(tmp_path, text)[0]


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    assert load(tmp_path, GOOD).study.training.learning_rate == 1e-4


def test_a_task_file_brings_its_own_folder(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("name: mine\ntrain: rows.jsonl\n")
    loaded = load(tmp_path, "name: n\ntask: tasks/mine.yaml\nmodels: [m]\nmethods: [base]\n")
    assert (loaded.task.name, loaded.task_root) == ("mine", tmp_path / "tasks")


def test_the_schema_knows_every_method_metric_and_key():
    schema = study_schema(vocabulary())
    text = json.dumps(schema)
    assert schema["additionalProperties"] is False
    for word in ("lora", "rank", "cldr-spanish", "bleu", "learning_rate", "20GiB"):
        assert f'"{word}"' in text


def test_methods_that_differ_are_never_taken_for_seeds_of_one(tmp_path):
    text = "name: n\ntask: cldr-spanish\nmodels: [m]\nmethods:\n"
    text += "  - lora: {rank: 8, targets: [[q_proj], [q_proj, v_proj]]}\n  - lora: {learning_rate: 1e-3}\n  - full\n"
    labels = [run.method.label for run in runs_of(tmp_path, text)]
    assert labels == [
        "lora learning_rate=default rank=8 targets=q_proj",
        "lora learning_rate=default rank=8 targets=q_proj+v_proj",
        "lora learning_rate=0.001 rank=16 targets=all-linear",
        "full",
    ]


def test_models_of_one_name_are_called_by_their_sources(tmp_path):
    text = "name: n\ntask: cldr-spanish\nmodels: [{source: a, name: x}, {source: b, name: x}, c]\nmethods: base\n"
    assert [run.model.name for run in runs_of(tmp_path, text)] == ["a", "b", "c"]


def test_two_revisions_of_a_model_are_two_models(tmp_path):
    def by_revision(ref, root):
        return ModelChoice(name="x", source="lab/x", fingerprint=f"hub:lab/x@{ref.revision}")

    text = "name: n\ntask: cldr-spanish\nmodels: [{source: lab/x, revision: aaaa}, {source: lab/x, revision: bbbb}]\n"
    loaded = load(tmp_path, text + "methods: base\n")
    first, second = expand(loaded, vocabulary(), by_revision, "data")
    assert first.cell != second.cell


@pytest.mark.parametrize("text", ["methods: [{lora: {rank: []}}]", "methods: base\nevaluate: []", "methods: []"])
def test_an_empty_list_is_refused(tmp_path, text):
    assert len(problems(tmp_path, f"name: n\ntask: cldr-spanish\nmodels: [m]\n{text}\n")) == 1


def test_an_anchor_can_be_merged_and_a_key_must_be_a_word(tmp_path):
    text = "x: &x {epochs: 3}\nname: n\ntask: cldr-spanish\nmodels: [m]\nmethods: full\ntraining: {<<: *x}\n"
    assert problems(tmp_path, text) == [f"x: unknown; allowed: {', '.join(sorted(Study.model_fields))}"]
    assert "a key must be a word" in problems(tmp_path, "name: {{ name }}\n")[0]
