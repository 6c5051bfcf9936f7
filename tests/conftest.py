"""Fixtures that many tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the user's cache, or asks a hub for anything."""
    with pytest.MonkeyPatch.context() as patch:
        # The real weights of the slow tests are fetched once, and kept where the user keeps them.
        patch.setenv("FAIRTUNE_USER_CACHE", os.environ.get("FAIRTUNE_CACHE", ""))
        patch.setenv("FAIRTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.setenv("OMP_NUM_THREADS", "1")
        # Processes of runs have the environment of the first of them.
        patch.setenv("FAIRTUNE_BENCHMARK_DATA", str(SHARED_DATA))
        yield


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("gpt2"), kind="gpt2", chat=False)


@pytest.fixture(scope="session")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer that looks back a window of 16 tokens, and one that sees everything."""
    return tiny.save_model(tmp_path_factory.mktemp("gemma3"), kind="gemma3")


@pytest.fixture(scope="session")
def lm_eval_names() -> None:
    """lm-eval's names, which take ten seconds to read: once, and kept where the user keeps them."""
    from fairtune.cache import cache_folder
    from fairtune.evaluate.harness.index import FOLDER, task_manager

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIRTUNE_CACHE", os.environ["FAIRTUNE_USER_CACHE"])
        task_manager()
        known = cache_folder() / FOLDER
    shutil.copytree(known, cache_folder() / FOLDER, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real task data beside the project, where they are."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real task data in {SHARED_DATA}, which are not part of the project")
    return SHARED_DATA
