"""Benchmarks opened: lm-eval's tasks with their data, the items that are scored, and what stands for all of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fairtune.errors import DataError, SpecError
from fairtune.evaluate.harness.beside import FILES, code_beside
from fairtune.evaluate.harness.calling import calling_lm_eval
from fairtune.evaluate.harness.index import add_group, nearest, task_manager
from fairtune.evaluate.harness.model import answer_settings, require_room
from fairtune.evaluate.metrics.benchmark import OTHER, SHARES, SUMS
from fairtune.study import BenchmarkChoice, BenchmarkRef, BenchmarkScore, BenchmarkTask

# Of a task's settings, those that say where things lie; the requests stand for what lies there.
_PLACES = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset", "metadata", "tag", "task_alias")


@dataclass(frozen=True)
class OpenBenchmark:
    """A benchmark with its data.

    Attributes:
        choice: what it is, as a run's spec has it.
        tasks: lm-eval's tasks, by name.
        groups: lm-eval's groups, by name.
        chosen: for each task the numbers of the items that are scored, in order; None for all.
    """

    choice: BenchmarkChoice
    tasks: dict[str, Any]
    groups: dict[str, Any]
    chosen: dict[str, list[int]] | None
    requests: int


def open_benchmark(ref: BenchmarkRef, root: Path) -> OpenBenchmark:
    """Finds a benchmark, reads its data and builds its requests as they are without a chat template.

    Args:
        root: the folder that the path of a task file starts from.

    Raises:
        SpecError: no such benchmark, or settings that it does not take.
        DataError: its data cannot be had, or do not suit it.
    """
    with calling_lm_eval():
        source, loaded = _loaded(ref, root)
        tasks, groups = loaded["tasks"], loaded["groups"]
        for task in tasks.values():
            _require_text(ref, task)
            _read_once(task)
            _apply(ref, task)
        _require_examples(ref, tasks)
        chosen = None if ref.limit is None else {name: _sample(ref, task) for name, task in tasks.items()}
        found = hashlib.sha256()
        for name, task in tasks.items():
            _build(ref, task, chosen[name] if chosen else None)
            found.update(_described(task).encode())
        found.update(code_beside(source, tasks.values()))
    sizes = {name: len(chosen[name]) if chosen else len(task.eval_docs) for name, task in tasks.items()}
    top = _top_group(loaded)
    name = ref.name or (str(top.name) if top else next(iter(tasks)))
    choice = BenchmarkChoice(
        name=_safe(name),
        source=source,
        asked=ref,
        tasks=tuple(
            BenchmarkTask(name=each, version=str(task.VERSION), items=sizes[each]) for each, task in tasks.items()
        ),
        scores=tuple(_group_scores(top, name, tasks) if top else _task_scores(ref, tasks)),
        fingerprint=found.hexdigest(),
    )
    _require_scores(choice)
    return OpenBenchmark(choice, tasks, groups, chosen, sum(len(task.instances) for task in tasks.values()))


def reopen(choice: BenchmarkChoice) -> OpenBenchmark:
    """The benchmark that a run was planned with.

    Raises:
        DataError: its data, its text or lm-eval's version of it have changed.
    """
    opened = open_benchmark(choice.asked.model_copy(update={"benchmark": choice.source}), Path())
    if opened.choice.fingerprint != choice.fingerprint:
        raise DataError(
            f"benchmark {choice.name}: its text or data changed since the run was planned; run the study again"
        )
    return OpenBenchmark(choice, opened.tasks, opened.groups, opened.chosen, opened.requests)


def _loaded(ref: BenchmarkRef, root: Path) -> tuple[str, Any]:
    """The name or file, and what lm-eval makes of it."""
    path = (root / Path(ref.benchmark).expanduser()).resolve()
    source = str(path) if path.suffix in FILES else ref.benchmark
    if path.suffix in FILES and not path.is_file():
        raise SpecError(f"no file {path}")
    group, whole = _group_of(path) if path.suffix in FILES else (None, False)
    manager = task_manager(names=not whole)
    if group is not None:
        add_group(manager, group, path)
    elif source not in manager.task_index and path.suffix not in FILES:
        raise SpecError(_unknown(ref, manager.task_index))
    try:
        return source, manager.load([group or source])
    except Exception as error:
        raise DataError(_unloadable(ref, error)) from error


def _group_of(path: Path) -> tuple[str | None, bool]:
    """The group that a file makes of tasks, None where it is a task; and whether it does without lm-eval's names.

    Raises:
        SpecError: it is neither.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        found = load_yaml(path, resolve_func=False)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SpecError(f"{path}: {_one_line(error)}") from error
    name = found.get("group") or found.get("task")
    if not isinstance(name, str):
        raise SpecError(f"{path}: names neither a `task` nor a `group`; it is to be a task file of lm-eval")
    members = found["task"] if isinstance(found.get("task"), list) else []
    whole = all(isinstance(member, dict) and "output_type" in member for member in members)
    return (name if "group" in found else None), whole


def _unknown(ref: BenchmarkRef, names: Any) -> str:
    near = nearest(ref.benchmark, names)
    hint = f"did you mean {', '.join(repr(name) for name in near)}? " if near else ""
    return (
        f"unknown benchmark '{ref.benchmark}'; {hint}Allowed: the {len(names):,} names of lm-eval "
        "(`lm_eval ls tasks`), or the path of a task file (.yaml)"
    )


def _unloadable(ref: BenchmarkRef, error: Exception) -> str:
    """One sentence of what went wrong when data were read."""
    if isinstance(error, ConnectionError) or "Hub" in str(error) or "offline" in str(error).lower():
        return (
            f"benchmark {ref.benchmark}: its data set cannot be had: {_one_line(error)}. Data that were read once are "
            "kept by the datasets library; a task file with data files of your own works without a network "
            "(docs/benchmarks.md)"
        )
    return f"benchmark {ref.benchmark}: cannot be read: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    """What went wrong, and in which of the task's settings, as far as the traceback tells."""
    text = f"no column or key {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    text = text or type(error).__name__
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in frames:
        name, task = frame.f_code.co_name, frame.f_locals.get("self")
        if name.startswith(("doc_to_", "process_docs")) and task is not None:
            return f"{name}: {task.get_config(name)!r}: {text}"
    if isinstance(error, IndexError) and frames[-1].f_code.co_name == "__init__":
        return "its first item has no answers to choose from, or an empty one"
    return text


def _require_text(ref: BenchmarkRef, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise SpecError(f"{ref.benchmark}: {task.task_name} runs what the model writes, and lm-eval does so unguarded")
    if getattr(task, "MULTIMODAL", False):
        raise SpecError(f"{ref.benchmark}: {task.task_name} asks about images or sounds; models here read text")


def _read_once(task: Any) -> None:
    """lm-eval processes all items of a task anew whenever it is asked for them, half a dozen times."""
    items = list(task.eval_docs)
    setattr(task, "test_docs" if task.has_test_docs() else "validation_docs", lambda: items)


def _apply(ref: BenchmarkRef, task: Any) -> None:
    """The settings of the study put over those of the task, as lm-eval does it."""
    fixed = task.get_config("num_fewshot")
    if ref.num_fewshot is not None and fixed != 0:
        task.set_config("num_fewshot", ref.num_fewshot)
    elif ref.num_fewshot and fixed == 0:
        raise SpecError(f"num_fewshot: {task.task_name} fixes it at 0; leave it out")
    elif fixed is None:
        task.set_config("num_fewshot", 0)
    changes = _generation(ref)
    if changes and task.get_config("output_type") == "generate_until":
        task.set_config("generation_kwargs", changes, update=True)
    elif changes:
        raise SpecError(f"generation: {task.task_name} compares likelihoods, and nothing is written; leave it out")
    task.set_fewshot_seed(seed=ref.fewshot_seed)


def _generation(ref: BenchmarkRef) -> dict[str, Any]:
    """The study's words in lm-eval's."""
    asked = ref.generation.model_dump(exclude_none=True)
    changes: dict[str, Any] = {}
    if "max_new_tokens" in asked:
        changes["max_gen_toks"] = asked.pop("max_new_tokens")
    if "stop" in asked:
        changes["until"] = list(asked.pop("stop"))
    if "temperature" in asked:
        changes["do_sample"] = asked["temperature"] > 0
    return {**changes, **asked}


def _require_examples(ref: BenchmarkRef, tasks: dict[str, Any]) -> None:
    empty = [name for name, task in tasks.items() if not len(task.eval_docs)]
    if not tasks or empty:
        raise DataError(f"benchmark {ref.benchmark}: {', '.join(empty) or 'it'} has no items")


def _sample(ref: BenchmarkRef, task: Any) -> list[int]:
    """The items with the lowest hashes of content; the first where that is asked for. In the order of the data."""
    count = min(ref.limit or 0, len(task.eval_docs))
    if ref.sample == "first":
        return list(range(count))
    hashes = [(hashlib.sha256(_json(doc).encode()).digest(), row) for row, doc in enumerate(task.eval_docs)]
    return sorted(row for _, row in sorted(hashes)[:count])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_said)


def _said(value: Any) -> str:
    """What JSON cannot say: code by its source, anything else by its text, never by where it lies in memory."""
    if callable(value):
        try:
            return inspect.getsource(value)
        except (TypeError, OSError):  # of a partial or of compiled code there is none
            return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    text = str(value)
    return type(value).__qualname__ if " at 0x" in text else text


def _build(ref: BenchmarkRef, task: Any, chosen: list[int] | None) -> None:
    """The requests of the chosen items.

    Raises:
        DataError: a column is missing, a choice is empty.
    """
    try:
        task.build_all_requests(samples=chosen)
    except Exception as error:
        raise DataError(
            f"benchmark {ref.benchmark}: {task.task_name}: its items do not suit it: {_one_line(error)}"
        ) from error
    if _writes(task):
        answer_settings(task.instances[0])
    for request in task.instances:
        if request.request_type == "loglikelihood" and not str(request.args[1]).strip():
            raise DataError(f"benchmark {ref.benchmark}: {task.task_name}, item {request.doc_id}: an answer is empty")
    asked = {request.doc_id for request in task.instances}
    if len(asked) < (len(chosen) if chosen is not None else len(task.eval_docs)):
        raise DataError(f"benchmark {ref.benchmark}: {task.task_name}: some items have no answers to choose from")


def _writes(task: Any) -> bool:
    return bool(task.instances[0].request_type == "generate_until")


def require_suited(opened: OpenBenchmark, tokenizer: Any, reads: int | None) -> None:
    """Whether a model can be asked.

    Args:
        reads: its context in tokens; None if it states none.

    Raises:
        SpecError: it has no chat template, or no room for an answer.
    """
    if opened.choice.asked.chat_template and tokenizer.chat_template is None:
        raise SpecError(f"benchmark {opened.choice.name}: chat_template: the model has none; leave it out")
    for task in opened.tasks.values():
        if reads is not None and _writes(task):
            require_room(task.instances[0], reads)


def _described(task: Any) -> str:
    """Everything that a result follows from, the model aside: requests, right answers, settings, filters, metrics."""
    settings = {key: value for key, value in task.dump_config().items() if key not in _PLACES}
    targets = {request.doc_id: _json(task.doc_to_target(request.doc)) for request in task.instances}
    asked = [[request.request_type, request.args] for request in task.instances]
    return _json([task.task_name, task.VERSION, settings, asked, list(targets.values())])


def _top_group(loaded: Any) -> Any:
    """The group that was asked for, if it has numbers of its own."""
    inner = {name for children in loaded["group_map"].values() for name in children}
    top = [group for name, group in loaded["groups"].items() if name not in inner and group.has_aggregation]
    return top[0] if top else None


def _filters(task: Any) -> list[str]:
    return [str(each.name) for each in task._filters]


def _aggregation(task: Any, metric: str) -> str:
    """lm-eval's name of it, where it is a function of sums over items."""
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    function = task.aggregation()[metric]
    names = [name for name, known in AGGREGATION_REGISTRY.items() if known is function]
    return names[0] if names and names[0] in SUMS else OTHER


def _is_share(task: Any, metric: str) -> bool:
    return metric in SHARES and task.get_config("process_results") is None and _aggregation(task, metric) == "mean"


def _task_scores(ref: BenchmarkRef, tasks: dict[str, Any]) -> Iterator[BenchmarkScore]:
    """Every metric of every task under every filter."""
    for name, task in tasks.items():
        prefix = ref.name if ref.name and len(tasks) == 1 else f"{ref.name}.{name}" if ref.name else name
        for metric in task.aggregation():
            for chosen in _filters(task):
                yield BenchmarkScore(
                    name=_score_name(prefix, metric, chosen),
                    metric=metric,
                    filter=chosen,
                    task=name,
                    aggregation=_aggregation(task, metric),
                    higher_is_better=bool(task.higher_is_better().get(metric, True)),
                    proportion=_is_share(task, metric),
                )


def _group_scores(group: Any, prefix: str, tasks: dict[str, Any]) -> Iterator[BenchmarkScore]:
    """What the group says is made of all its tasks together."""
    for each in group.aggregate_metric_list:
        having = [task for task in tasks.values() if each.metric in task.aggregation()]
        filters = each.filter_list or sorted({name for task in having for name in _filters(task)})
        means = bool(having) and all(_aggregation(task, each.metric) == "mean" for task in having)
        for chosen in filters:
            yield BenchmarkScore(
                name=_score_name(prefix, each.metric, chosen),
                metric=each.metric,
                filter=chosen,
                aggregation="mean" if means else OTHER,
                higher_is_better=all(task.higher_is_better().get(each.metric, True) for task in having),
                proportion=means and each.weight_by_size and all(_is_share(task, each.metric) for task in having),
                by_size=bool(each.weight_by_size),
            )


def _score_name(prefix: str, metric: str, chosen: str) -> str:
    return ".".join(_safe(part) for part in (prefix, metric, *([] if chosen == "none" else [chosen])))


def _safe(name: str) -> str:
    """Fit to be the name of a file."""
    return "".join(sign if sign.isalnum() or sign in "._-@+" else "_" for sign in name)


def _require_scores(choice: BenchmarkChoice) -> None:
    if not choice.scores:
        raise SpecError(f"{choice.source}: has no metric")
