"""What `report` writes besides its table: files in other formats, and figures."""

import io
import subprocess

import pytest
from pyarrow import parquet

from tests.cli.command import FAIRTUNE, fairtune, inside, study


@pytest.fixture(scope="module")
def finished(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("reported")
    path = study(folder, llama, methods=["base", {"lora": {"rank": 2}}], seeds=[0, 1])
    assert inside("run", path, cwd=folder).returncode == 0
    return folder


def test_figures_are_written_beside_any_format_and_told_on_stderr(finished):
    done = inside("report", "study.yaml", "--figures", "pictures", "--format", "latex", cwd=finished)
    assert done.returncode == 0
    assert done.stdout.startswith("% In the preamble: \\usepackage{booktabs}.")
    assert "lora rank=2 & $" in done.stdout or "lora & $" in done.stdout
    written = {path.name for path in (finished / "pictures").iterdir()}
    for name in ("uplift", "quality_memory", "quality_time", "seeds", "loss", "lengths"):
        assert {f"{name}.svg", f"{name}.png"} <= written, done.stderr
    assert f"Wrote {len(written)} files to pictures: uplift, " in done.stderr


def test_a_report_goes_to_a_file_where_one_is_named(finished):
    for name, start in (("table", "Quality"), ("md", "# small"), ("csv", "study,"), ("json", "{"), ("parquet", "PAR1")):
        done = inside("report", "study.yaml", "--format", name, "-o", f"out/{name}", cwd=finished)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"Wrote out/{name}\n")
        assert (finished / "out" / name).read_bytes().startswith(start.encode())


def test_parquet_may_go_through_a_pipe(finished):
    done = subprocess.run(
        [*FAIRTUNE, "report", "study.yaml", "--format", "parquet"], cwd=finished, capture_output=True, timeout=120
    )
    table = parquet.read_table(io.BytesIO(done.stdout))
    assert set(table["metric"].to_pylist()) == {"perplexity", "bleu", "chrf", "exact_match"}


def test_parquet_is_not_for_a_terminal(finished, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(io, "StringIO", Terminal)
    done = inside("report", "study.yaml", "--format", "parquet", cwd=finished)
    assert done.returncode == 2
    assert "--format parquet is no text for a terminal; name a file with --output FILE" in done.stderr


def test_a_study_that_has_not_run_has_nothing_to_draw(tmp_path, llama):
    path = study(tmp_path, llama)
    done = inside("report", path, "--figures", "pictures", "--format", "md", cwd=tmp_path)
    assert done.returncode == 1
    assert "Wrote 0 files to pictures: there is nothing to draw yet" in done.stderr


def test_figures_that_cannot_be_written_are_told(finished):
    (finished / "taken").write_text("")
    done = fairtune("report", "study.yaml", "--figures", "taken", "--format", "md", cwd=finished)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
