"""Fixtures that many tests share."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What is imported meanwhile stays: nothing is gained by looking through a million objects again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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
def gguf_file(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Path:
    """A tiny Llama as GGUF, F32, with a byte-level tokenizer."""
    import gguf as library
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(llama), tiny.tokenizer()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = library.GGUFWriter(str(path), "llama")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3, 3, 3] + [1] * (len(vocabulary) - 3))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(2)
    writer.add_chat_template(tiny.CHAT_TEMPLATE)
    names = library.get_tensor_name_map(library.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        data = weight
        for part, count in heads.items():
            if part in name:  # llama.cpp keeps rotary pairs next to each other
                data = weight.view(count, 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), data.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


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
