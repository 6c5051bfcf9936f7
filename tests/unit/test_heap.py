"""The process of a run begins without glibc's caches of small blocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairtune.execute.heap import whole_heaps
from fairtune.execute.nursery import Nursery

OURS = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"


def tell(folder: str, command: tuple[str, ...]) -> None:
    (Path(folder) / "told").write_text(os.environ.get("GLIBC_TUNABLES", ""), encoding="utf-8")


def test_a_run_begins_without_them_and_its_parent_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    process = Nursery().start(tmp_path, tell)
    process.join()
    assert (tmp_path / "told").read_text(encoding="utf-8") == OURS
    assert "GLIBC_TUNABLES" not in os.environ


def test_what_the_user_asks_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.mxfast=64:glibc.pthread.rseq=0")
    with whole_heaps():
        told = "glibc.malloc.mxfast=64:glibc.pthread.rseq=0:glibc.malloc.tcache_count=0"
        assert os.environ["GLIBC_TUNABLES"] == told
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.mxfast=64:glibc.pthread.rseq=0"
