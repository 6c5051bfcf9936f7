"""Benchmarks below the command line: their numbers, what is kept, and lm-eval's own command with our model."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from fairtune.evaluate.metrics.benchmark import OTHER, SUMS, BenchmarkMetric
from fairtune.execute.benchmarks import BenchmarkRunner, open_any, weights_key
from fairtune.study import BenchmarkRef, BenchmarkScore
from tests import tiny
from tests.cli.test_benchmarks import CHOICE, WRITTEN, questions, task_file


@pytest.fixture
def folder(tmp_path):
    tiny.write_jsonl(tmp_path / "which.jsonl", questions(12))
    tiny.write_jsonl(tmp_path / "dev.jsonl", questions(6, 100))
    tiny.write_jsonl(tmp_path / "spell.jsonl", tiny.rows(5))
    task_file(tmp_path, CHOICE)
    task_file(tmp_path, WRITTEN)
    return tmp_path


class Counted:
    """A model, with how often its network was called."""

    def __init__(self, model):
        self.model, self.calls = model, 0
        model.network.register_forward_pre_hook(self._count)

    def _count(self, *_):
        self.calls += 1

    def run(self, ref, folder, weights="weights"):
        before = self.calls
        (scored,) = BenchmarkRunner([open_any(ref, folder).choice]).run(self.model, weights)
        assert scored.cached == (self.calls == before)
        return scored


def test_a_result_is_kept_until_anything_changes_that_could_change_it(folder, llama, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))
    counted, ref = Counted(tiny.language_model(llama)), BenchmarkRef(benchmark="./which.yaml", num_fewshot=2, limit=4)
    written = BenchmarkRef(benchmark="./spell.yaml")
    first = counted.run(ref, folder)
    counted.run(written, folder)
    assert counted.run(ref, folder).cached
    assert counted.run(ref, folder).values() == first.values()
    changes = [{"num_fewshot": 1}, {"fewshot_seed": 5}, {"chat_template": True}, {"limit": 5}, {"sample": "first"}]
    for change in changes:
        assert not counted.run(ref.model_copy(update=change), folder).cached, change
    shorter = BenchmarkRef.model_validate({**written.model_dump(), "generation": {"max_new_tokens": 3}})
    assert not counted.run(shorter, folder).cached
    assert not counted.run(ref, folder, "other weights").cached
    assert not Counted(tiny.language_model(llama, "bf16")).run(ref, folder).cached
    counted.model.tokenizer.chat_template = f"{tiny.CHAT_TEMPLATE} "
    assert not counted.run(ref, folder).cached
    counted.model.tokenizer.chat_template = tiny.CHAT_TEMPLATE
    assert counted.run(ref, folder).cached
    task_file(folder, {**CHOICE, "doc_to_text": "Q: {{question}}\nA:"})
    assert not counted.run(ref, folder).cached
    task_file(folder, {**CHOICE, "metadata": {"version": 4}})
    assert not counted.run(ref, folder).cached
    task_file(folder, CHOICE)
    assert counted.run(ref, folder).cached
    tiny.write_jsonl(folder / "dev.jsonl", questions(6, 200))
    assert not counted.run(ref, folder).cached


def test_weights_are_known_by_the_content_of_what_was_trained(tmp_path, llama):
    spec = open_spec(llama)
    (tmp_path / "adapter").mkdir()
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    keys = {weights_key(spec, None)}
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        keys.add(weights_key(spec, tmp_path / "adapter"))
    assert len(keys) == 3


def open_spec(model):
    from pathlib import Path

    from fairtune.execute.scoring import Asked, _subject

    return _subject(Asked(str(model), ()), Path("nowhere")).spec


def test_the_sample_is_of_content_not_of_order(folder):
    ref = BenchmarkRef(benchmark="./which.yaml", limit=5)

    def chosen(ref):
        opened = open_any(ref, folder)
        (task,) = opened.tasks.values()
        return {request.doc["question"] for request in task.instances}

    before, first = chosen(ref), chosen(ref.model_copy(update={"sample": "first"}))
    assert first == {f"{number} uno dos" for number in range(5)}
    shuffled = questions(12)
    random.Random(0).shuffle(shuffled)
    tiny.write_jsonl(folder / "which.jsonl", shuffled)
    assert chosen(ref) == before != first


@pytest.mark.parametrize("name", sorted(SUMS))
def test_numbers_made_of_sums_are_those_of_lm_eval(name):
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    draw = random.Random(1)
    weighted = name in {"weighted_perplexity", "bits_per_byte"}
    items = [(-draw.random() * 9, draw.randint(1, 9)) if weighted else -draw.random() for _ in range(7)]
    items = [*items, math.nan] if name == "nanmean" else items
    metric = BenchmarkMetric(
        BenchmarkScore(name="a.b", metric="b", filter="none", aggregation=name, higher_is_better=True)
    )
    sums = np.array([metric.numbers(item) for item in items]).sum(axis=0)
    assert metric.aggregate(sums) == pytest.approx(AGGREGATION_REGISTRY[name](items))
    assert math.isnan(metric.aggregate(np.zeros(2)))  # without a warning, which would be an error here


def test_a_group_weighs_its_tasks_as_it_says(folder, llama):
    tiny.write_jsonl(folder / "few.jsonl", [{**row, "label": 0} for row in questions(3, 50)])
    few = {**CHOICE, "task": "few", "dataset_kwargs": {"data_files": {"test": "few.jsonl", "dev": "dev.jsonl"}}}
    task_file(folder, few)
    model = tiny.language_model(llama)
    for by_size in (True, False):
        parts = [json.loads(json.dumps(each)) for each in (few, CHOICE)]
        for part in parts:
            files = part["dataset_kwargs"]["data_files"]
            part["dataset_kwargs"]["data_files"] = {split: str(folder / file) for split, file in files.items()}
        group = {
            "group": f"both_{by_size}",
            "task": parts,
            "aggregate_metric_list": [{"metric": "acc", "weight_by_size": by_size}],
        }
        task_file(folder, group, f"both_{by_size}")
        ref = BenchmarkRef(benchmark=f"./both_{by_size}.yaml")
        (scored,) = BenchmarkRunner([open_any(ref, folder).choice]).run(model, f"weights {by_size}")
        (value,) = scored.values().values()
        (number,) = scored.result.numbers
        hits = {}
        for item in number.items:
            hits.setdefault(item.cluster, []).append(item.scores[0] / item.scores[1])
        means = [sum(each) / len(each) for each in hits.values()]
        pooled = sum(sum(each) for each in hits.values()) / 15
        assert value.n == 15
        assert value.value == pytest.approx(pooled if by_size else sum(means) / 2)
        assert value.low < value.value < value.high


def test_a_number_that_is_no_function_of_sums_has_a_value_and_says_why_it_has_no_interval(folder, llama):
    metrics = [{"metric": "f1", "aggregation": "f1", "higher_is_better": True}]
    binary = [{**row, "choices": row["choices"][:2], "label": index % 2} for index, row in enumerate(questions(12))]
    tiny.write_jsonl(folder / "which.jsonl", binary)
    task_file(folder, {**CHOICE, "task": "scored", "metric_list": metrics}, "scored")
    ref = BenchmarkRef(benchmark="./scored.yaml")
    (scored,) = BenchmarkRunner([open_any(ref, folder).choice]).run(tiny.language_model(llama), "weights")
    value = scored.values()["scored.f1"]
    assert scored.choice.scores[0].aggregation == OTHER
    assert value.value is not None
    assert (value.low, value.interval) == (None, "none")
    assert "no function of sums" in value.reason


def test_lm_eval_makes_our_model_by_its_name_with_the_same_numbers(folder, llama):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    import fairtune.evaluate.harness.opening  # noqa: F401 - what `python -m fairtune.evaluate.harness` does first

    adapter = folder / "adapter"
    tiny.tuned(llama, "lora", {"rank": 2}).save(adapter)
    for adapted in ("", f",adapter={adapter}"):
        theirs = simple_evaluate(
            model="fairtune",
            model_args=f"pretrained={llama},dtype=float32{adapted}",
            tasks=[str(folder / "which.yaml")],
            task_manager=TaskManager(include_defaults=False),
            limit=6,
            device="cuda:0",
            bootstrap_iters=0,
        )["results"]["which"]
        ref = BenchmarkRef(benchmark="./which.yaml", sample="first", limit=6)
        (scored,) = BenchmarkRunner([open_any(ref, folder).choice]).run(tiny.language_model(llama), "same")
        ours = {f"{score.metric},none": scored.values()[score.name].value for score in scored.choice.scores}
        assert {name: theirs[name] for name in ours} == pytest.approx(ours)


def test_an_adapter_leaves_the_model_as_it_was(tmp_path, llama):
    import torch

    from fairtune.methods.folder import wearing

    tokens = torch.arange(3, 40)[None]
    model = tiny.language_model(llama)
    before = model.network(tokens).logits
    for method, options in (("lora", {"rank": 2}), ("prompt", {"num_virtual_tokens": 2}), ("ia3", {})):
        tuned = tiny.tuned(llama, method, options)
        for weight in (weight for weight in tuned.model.network.parameters() if weight.requires_grad):
            torch.nn.init.normal_(weight)
        tuned.save(tmp_path / method)
        with wearing(model, tmp_path / method) as worn:
            assert worn.model.virtual_tokens == options.get("num_virtual_tokens", 0)
            assert not torch.equal(worn.model.network(tokens).logits, before)
        assert torch.equal(model.network(tokens).logits, before)
        assert model.virtual_tokens == 0


@pytest.mark.slow
def test_lm_evals_own_command_knows_our_model(folder, llama):
    arguments = ["--model", "fairtune", "--model_args", f"pretrained={llama}", "--tasks", str(folder / "which.yaml")]
    command = [sys.executable, "-m", "fairtune.evaluate.harness", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "acc_norm" in done.stdout


def test_the_command_line_and_the_report_do_without_lm_eval():
    code = (
        "import sys, fairtune.cli, fairtune.execute, fairtune.report, fairtune.study; print('lm_eval' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
