"""The rules of the house, held by a walk over the code."""

import ast
import re
import statistics
from pathlib import Path

import pytest

import fairtune
from fairtune.data.augment import AUGMENTATIONS
from fairtune.data.starter import SMALL_MODEL, starter_study
from fairtune.evaluate.metrics import METRICS
from fairtune.execute import vocabulary
from fairtune.methods import METHODS
from fairtune.study import load_study
from tests import tiny

SOURCE = Path(fairtune.__file__).parent
ROOT = Path(__file__).parents[2]
FILES = sorted(SOURCE.rglob("*.py"))
FUNCTIONS = [
    (path, node)
    for path in FILES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def strings(path):
    """String constants that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts
    }


# Names that mean something else elsewhere: a column, a package, a folder of a run, CLDR's longest date; a key of an
# answer's line, and of a process.
HOMONYMS = {"prompt", "peft", "adapter", "full", "stopped"}


def compared(path):
    """String constants that something is compared with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for compare in ast.walk(tree) if isinstance(compare, ast.Compare) for node in ast.walk(compare)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize(
    ("names", "room"),
    [(set(METHODS), "methods"), (set(METRICS), "evaluate/metrics"), (set(AUGMENTATIONS) - {"none"}, "data/augment")],
    ids=["methods", "metrics", "augmentations"],
)
def test_nobody_outside_its_room_mentions_a_method_metric_or_augmentation_by_name(names, room):
    allowed = {"study/task.py"} if room == "evaluate/metrics" else set()  # the default metrics of a task
    offenders = {
        str(path.relative_to(SOURCE)): sorted(found)
        for path in FILES
        if room not in path.relative_to(SOURCE).as_posix()
        and (found := names & ((strings(path) - HOMONYMS) | compared(path)))
    }
    assert set(offenders) <= allowed, offenders


def test_functions_are_short_and_files_too():
    lengths = [node.end_lineno - node.lineno + 1 for _, node in FUNCTIONS]
    long = [f"{path.name}:{node.name}" for path, node in FUNCTIONS if node.end_lineno - node.lineno + 1 > 50]
    assert not long
    assert statistics.median(lengths) <= 12
    assert not [path.name for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 400]


def test_no_exception_is_swallowed():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, path
                assert not all(isinstance(line, ast.Pass) for line in node.body), f"{path}:{node.lineno}"


def test_public_names_are_these():
    assert sorted(fairtune.__all__) == [
        *("BudgetError", "DataError", "DivergedError", "FairtuneError", "ModelError", "RecordError", "SpecError"),
        "__version__",
    ]
    assert all(hasattr(fairtune, name) for name in fairtune.__all__)


def test_every_study_that_ships_is_right():
    studies = sorted((ROOT / "studies").glob("*.yaml"))
    assert studies
    for path in studies:
        assert load_study(path, vocabulary()).candidates


@pytest.mark.parametrize("page", ["README.md", "docs/study-file.md"])
def test_the_studies_in_the_documentation_are_right(tmp_path, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "models:" in block]
    assert blocks
    for block in blocks:
        (tmp_path / "study.yaml").write_text(block, encoding="utf-8")
        assert load_study(tmp_path / "study.yaml", vocabulary()).candidates


@pytest.mark.parametrize("name", ["rows.jsonl", "2024-01-05.jsonl", "true.jsonl", "my #1: data.jsonl", "a'b c.jsonl"])
def test_the_study_that_init_writes_is_right(tmp_path, name):
    tiny.write_jsonl(tmp_path / name, tiny.rows(20))
    target = tmp_path / "study.yaml"
    target.write_text(starter_study(str(tmp_path / name), target).text, encoding="utf-8")
    loaded = load_study(target, vocabulary())
    assert loaded.task.train == name
    assert loaded.study.models[0].source == SMALL_MODEL


def test_the_page_of_metrics_has_a_line_for_each_as_the_table_of_metrics_says():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    shown = [line for line in page.split("\n") if line.startswith("| `")]
    arrows = {True: "↑", False: "↓", None: "–"}
    assert shown == [
        f"| `{name}` | {found.description} | {arrows[found.higher_is_better]} | {found.needs} | {found.formula} "
        f"| {found.source} |"
        for name, found in METRICS.items()
    ]


def test_the_demo_and_init_use_the_same_weights():
    assert SMALL_MODEL in (ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8")


def test_every_dependency_carries_its_reason():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("\n")
    start = lines.index("dependencies = [")
    entries = lines[start + 1 : lines.index("]", start)]
    assert all("# " in line for line in entries), [line for line in entries if "# " not in line]
