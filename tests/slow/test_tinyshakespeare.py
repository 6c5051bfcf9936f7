"""A fifth of nanoGPT's published CPU setting on the text it was published for; docs/log.md has the whole of it."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.cli.command import fairtune

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "tinyshakespeare.yaml"
UPDATES = 400
# Pairs of characters, counted in the first nine tenths, give 2.48 nats on the last; 1.88 takes 2,000 updates.
PAIRS = 2.48


@pytest.fixture
def text(request):
    """The file that FAIRTUNE_TINYSHAKESPEARE names, or the one beside the study, or among the real task data."""
    for path in (Path(os.environ.get("FAIRTUNE_TINYSHAKESPEARE", "")), STUDY.with_name("tinyshakespeare.txt")):
        if path.is_file():
            return path
    path = request.getfixturevalue("shared_data") / "tinyshakespeare" / "input.txt"
    if not path.is_file():
        pytest.skip("needs Tiny Shakespeare: set FAIRTUNE_TINYSHAKESPEARE to its input.txt")
    return path


def test_a_small_gpt_learns_more_than_pairs_of_characters(text, tmp_path):
    content = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    content |= {"models": content["models"][:1], "methods": content["methods"][1:]}
    content["training"]["updates"] = UPDATES
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    shutil.copyfile(text, tmp_path / content["task"]["train"])
    result = fairtune("run", "study.yaml", cwd=tmp_path, timeout=1800)
    assert result.returncode == 0, result.stderr
    document = json.loads(fairtune("report", "study.yaml", "--format", "json", cwd=tmp_path).stdout)
    (record,) = document["runs"]
    assert record["metrics"]["cross_entropy"]["high"] < PAIRS
    assert record["metrics"]["cross_entropy"]["n"] == 1743
    assert "## Samples" in (tmp_path / "runs" / "tinyshakespeare" / "report.md").read_text(encoding="utf-8")
