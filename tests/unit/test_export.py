"""Exports: what is written is what is read again."""

import gguf
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from fairtune.data import only_last_answer
from fairtune.errors import ModelError
from fairtune.evaluate.generation import write
from fairtune.evaluate.parity import LogitFile, observe
from fairtune.models.export.gguf import read_file, write_file
from fairtune.models.export.gguf_families import family_of, overlooked, rope_factors
from fairtune.models.export.gguf_tensors import tensors_of
from fairtune.models.export.gguf_vocabulary import require_vocabulary
from fairtune.study import Generation
from tests import tiny

TEXTS = [
    "",
    "abba ab",
    " two  spaces\n\nand lines\t",
    "ñandú, 東京, 🤖, 2024-01-05",
    "<|im_start|>user\nHow many? 1234<|im_end|>\n",
    "<|endoftext|>ab<|im_end|>",
]


def model(tmp_path, made, tokenizer=None):
    """A model of a configuration, with random norms and biases too, saved and loaded as a run loads it."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(made)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn_like(weight) * (0.1 if weight.dim() == 1 else 0.3))
    network.save_pretrained(tmp_path / "model")
    (tokenizer or tiny.tokenizer()).save_pretrained(tmp_path / "model")
    return tiny.language_model(tmp_path / "model")


def config(kind, **changes):
    from transformers import Gemma2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

    if kind == "gemma3":
        made = tiny.config("gemma3").to_dict() | changes
        return type(tiny.config("gemma3")).from_dict(made)
    kinds = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
    shape = tiny.config().to_dict()
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    keys += ("num_key_value_heads", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
    same = {key: shape[key] for key in keys} | {"tie_word_embeddings": False}
    if kind == "gemma2":
        return Gemma2Config(
            **same
            | {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16, "tie_word_embeddings": True}
            | changes
        )
    extra = {"head_dim": 8} if kind == "qwen3" else {"sliding_window": None} if kind == "mistral" else {}
    return kinds[kind](**same | extra | changes)


PLAIN = {"rope_type": "default", "rope_theta": 1e4}
LINEAR = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3"]


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_tensor_of_an_f16_file_is_the_fp32_one_rounded_once(tmp_path, kind):
    own = model(tmp_path, config(kind))
    file = tmp_path / "tiny.gguf"
    write_file(own, "tiny", file, "f16")
    found = read_file(file, own.network.config)[0].state_dict()
    assert set(found) == set(own.network.state_dict())
    for name, weights in own.network.state_dict().items():
        if weights.dim() > 1:
            assert torch.equal(found[name], weights.half().float()), name
        elif kind.startswith("gemma"):  # stored as 1 + weight, in fp32
            assert torch.equal(found[name], (weights + 1) - 1), name
        else:
            assert torch.equal(found[name], weights), name


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_q8_0_moves_no_weight_by_more_than_half_a_step_of_its_block(tmp_path, kind):
    own = model(tmp_path, config(kind))
    file = tmp_path / "tiny.gguf"
    write_file(own, "tiny", file, "q8_0")
    kinds = {tensor.name: tensor.tensor_type for tensor in gguf.GGUFReader(file).tensors}
    assert kinds["blk.0.attn_q.weight"] == gguf.GGMLQuantizationType.Q8_0
    assert kinds["blk.0.ffn_down.weight"] == gguf.GGMLQuantizationType.F16  # rows of 48 are not whole blocks of 32
    assert kinds["output_norm.weight"] == gguf.GGMLQuantizationType.F32
    found = read_file(file, own.network.config)[0].state_dict()
    for name, weights in own.network.state_dict().items():
        if weights.dim() > 1 and weights.shape[1] % 32 == 0:
            blocks = weights.reshape(-1, 32)
            step = blocks.abs().amax(1, keepdim=True) / 127
            apart = (found[name].reshape(-1, 32) - blocks).abs()
            assert (apart <= step * 0.5 + 127 * step * 2**-11).all(), name  # the step itself is fp16
            assert apart.max() > 0


def test_a_llama_file_says_all_that_transformers_asks_for(tmp_path):
    made = config("llama", rope_theta=50_000.0, rms_norm_eps=3e-5, head_dim=8)
    own = model(tmp_path, made)
    write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")
    found = AutoConfig.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    assert overlooked(own.network.config, found) == []
    assert found.rope_parameters["rope_theta"] == 50_000.0
    assert found.max_position_embeddings == 256


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_file_loaded_again_answers_as_the_model_does(tmp_path, kind):
    own = model(tmp_path, config(kind))
    write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")
    found, _ = read_file(tmp_path / "tiny.gguf", own.network.config)
    tokens = torch.randint(0, 260, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        apart = (own.network(tokens).logits - found(tokens).logits).abs().max()
    assert apart < 0.05 * own.network(tokens).logits.std()


def test_what_transformers_skips_of_a_file_is_named(tmp_path):
    own = model(tmp_path, config("gemma3"))
    remarks = write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")
    skipped = overlooked(own.network.config, AutoConfig.from_pretrained(tmp_path, gguf_file="tiny.gguf"))
    assert {"layer_types", "query_pre_attn_scalar"} <= set(skipped)
    assert any("one layer in 2 sees everything" in remark for remark in remarks)


@pytest.mark.parametrize("tied", [False, True])
def test_a_tied_output_layer_is_left_out_of_the_file(tmp_path, tied):
    own = model(tmp_path, config("llama", tie_word_embeddings=tied))
    names = {tensor.name for tensor in tensors_of(own.network, family_of(own.network.config), "f16")}
    assert ("output.weight" in names) == (not tied)


def test_the_stretched_context_of_llama_3_becomes_frequency_factors():
    factors = rope_factors(config("llama", head_dim=128, rope_parameters=LLAMA3))
    assert factors.shape == (64,)
    assert factors[0] == pytest.approx(1)  # short waves stay
    assert factors[-1] == pytest.approx(8)  # long waves are stretched
    assert (factors[1:] >= factors[:-1] - 1e-5).all()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: tiny.config("gpt2"), "knows the families llama, mistral"),
        (lambda: config("gemma3", query_pre_attn_scalar=32), "cannot say query_pre_attn_scalar=32"),
        (lambda: config("gemma3", final_logit_softcapping=30.0), "cannot say final_logit_softcapping"),
        (lambda: config("llama", hidden_act="gelu"), "the activation gelu"),
        (
            lambda: config("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            "rope_type=dynamic",
        ),
    ],
)
def test_what_a_file_could_not_say_is_refused(made, words):
    with pytest.raises(ModelError, match=words):
        family_of(made())


def test_a_weight_beyond_fp16_is_refused(tmp_path):
    own = model(tmp_path, config("llama"))
    own.network.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e6
    with pytest.raises(ModelError, match="fp16 cannot"):
        write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, {}) for kind in FAMILIES),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("llama", {"rope_parameters": LLAMA3 | {"rope_theta": 1e4, "original_max_position_embeddings": 64}}),
        ("gemma3", {"layer_types": ["sliding_attention"] * 2}),
        ("gemma3", {"rope_parameters": {"sliding_attention": PLAIN, "full_attention": PLAIN | LINEAR}}),
    ],
)
def test_llama_cpp_itself_computes_the_same_from_the_file(tmp_path, kind, changes):
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which is no dependency")
    wide = {"hidden_size": 64, "head_dim": 16, "query_pre_attn_scalar": 16} if kind.startswith("gemma") else {}
    own = model(tmp_path, config(kind, **wide, **changes))
    write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")
    tokens = torch.randint(3, 260, (1, 60), generator=torch.Generator().manual_seed(0))  # beyond the window of 16
    engine = llama_cpp.Llama(
        str(tmp_path / "tiny.gguf"), n_ctx=64, n_batch=64, n_threads=1, logits_all=True, verbose=False
    )
    engine.eval(tokens[0].tolist())
    with torch.no_grad():
        logits = own.network(tokens).logits[0]
    apart = (torch.from_numpy(engine.scores[:60]) - logits).abs().max()
    engine.close()
    assert apart < 0.02 * logits.std()


# --- tokenizers ----------------------------------------------------------------------------------------------------


def test_a_byte_level_tokenizer_comes_back_the_same(tmp_path):
    own = model(tmp_path, config("llama"))
    write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")
    found = AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    for text in TEXTS:
        assert found(text)["input_ids"] == own.tokenizer(text)["input_ids"], text
    assert found.chat_template == own.tokenizer.chat_template
    assert (found.eos_token_id, found.pad_token_id) == (own.tokenizer.eos_token_id, own.tokenizer.pad_token_id)
    assert found.bos_token_id is None


def sentencepiece_like():
    """BPE as Gemma's: spaces are ▁, unknown characters become bytes, nothing is cut before merging."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = ["▁", *"abdehilmnorstuw"]
    merged = [("▁", "▁"), ("a", "b"), ("▁", "t"), ("t", "h"), ("th", "e"), ("▁t", "he"), ("▁", "the"), ("i", "n")]
    words = list(dict.fromkeys(one + other for one, other in merged))
    vocabulary = {piece: index for index, piece in enumerate([*pieces, *letters, *words])}
    merges = [pair for pair in merged if pair[0] in vocabulary and pair[1] in vocabulary]
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def test_a_sentencepiece_like_tokenizer_comes_back_the_same(tmp_path):
    tokenizer = sentencepiece_like()
    tokenizer.chat_template = tiny.CHAT_TEMPLATE.replace("<|im_start|>", "<start_of_turn>").replace(
        "<|im_end|>", "<end_of_turn>"
    )
    own = model(tmp_path, config("gemma3", vocab_size=len(tokenizer) + 3, eos_token_id=1), tokenizer)
    write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")
    found = AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    for text in ["the ab in  the", "ñandú 東京 🤖\n", "<start_of_turn>user\nthe<end_of_turn>\n"]:
        assert found(text, add_special_tokens=False)["input_ids"] == own.tokenizer(text)["input_ids"], text
    fields = gguf.GGUFReader(tmp_path / "tiny.gguf").fields
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert kinds[:7] == [3, 3, 3, 3, 3, 3, 6]
    assert kinds[-3:] == [5, 5, 5]  # rows of the model that the tokenizer has no token for
    scores = fields["tokenizer.ggml.scores"].contents()
    assert scores[own.tokenizer.convert_tokens_to_ids("ab")] > scores[own.tokenizer.convert_tokens_to_ids("the")]
    assert fields["tokenizer.ggml.eot_token_id"].contents() == 5
    assert not fields["tokenizer.ggml.add_bos_token"].contents()


def test_tokenizers_without_a_name_in_llama_cpp_are_refused():
    from tokenizers import Regex, pre_tokenizers

    strange = tiny.tokenizer()
    strange.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("x+"), "isolated"), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    with pytest.raises(ModelError, match=r"no llama\.cpp name"):
        require_vocabulary(strange)
    digits = tiny.tokenizer()
    digits.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    assert require_vocabulary(digits).cut == "smollm"
    assert require_vocabulary(tiny.tokenizer()).cut == "gpt-2"


def test_more_tokens_than_rows_are_refused(tmp_path):
    own = model(tmp_path, config("llama", vocab_size=259))
    with pytest.raises(ModelError, match="260 tokens and the model 259 rows"):
        write_file(own, "tiny", tmp_path / "tiny.gguf", "f16")


# --- the comparison ------------------------------------------------------------------------------------------------


def test_answers_are_compared_as_the_task_has_them_written(llama, tmp_path):
    """Drawn ones with the run's seeds: greedy ones would differ from what the run stored."""
    model, items = tiny.language_model(llama), [only_last_answer(item) for item in tiny.encoded(4)]
    how, seeds = Generation(temperature=1.0, repetition_penalty=1.5), [5, 6, 7, 8]
    logits = LogitFile(tmp_path / "logits", items)
    found = observe(model, items, 6, logits.keep, how, seeds).answers
    assert found == write(model, [item.prompt for item in items], 6, how, seeds)
    assert found != observe(model, items, 6, logits.keep).answers


def test_a_model_beside_itself_has_no_difference_and_beside_another_the_true_one(llama, tmp_path):
    own, items = tiny.language_model(llama), [only_last_answer(item) for item in tiny.encoded(9)]
    logits = LogitFile(tmp_path / "logits", items)
    observe(own, items, 4, logits.keep)
    before = observe(own, items, 4, logits.compare)
    assert (logits.largest, logits.mean) == (0, 0)
    assert logits.positions == logits.of == before.tokens

    again = LogitFile(tmp_path / "again", items)
    observe(own, items, 4, again.keep)
    with torch.no_grad():
        own.network.lm_head.weight[7] *= 1.5
    observe(own, items, 4, again.compare)
    largest = 0.0
    for item in items:
        with torch.no_grad():
            plain = own.network(torch.tensor([item.tokens[:-1]])).logits[0, :, 7]
        largest = max(largest, *(float(plain[t - 1].abs()) / 3 for t in range(len(item.tokens)) if item.supervised[t]))
    assert again.largest == pytest.approx(largest, rel=1e-4)


def test_logits_beyond_the_room_are_not_compared_and_counted(llama, tmp_path):
    own, items = tiny.language_model(llama), [only_last_answer(item) for item in tiny.encoded(9)]
    logits = LogitFile(tmp_path / "logits", items, room_bytes=3 * 6 * 260 * 4)
    observe(own, items, 4, logits.keep)
    observe(own, items, 4, logits.compare)
    assert 0 < logits.positions < logits.of
    assert (tmp_path / "logits").stat().st_size <= 3 * 6 * 260 * 4


def test_a_number_that_is_not_finite_is_the_largest_difference(llama, tmp_path):
    own, items = tiny.language_model(llama), [only_last_answer(item) for item in tiny.encoded(3)]
    logits = LogitFile(tmp_path / "logits", items)
    observe(own, items, 4, logits.keep)
    logits.compare(0, torch.full((items[0].answer_tokens, 260), float("nan")))
    logits.compare(1, torch.zeros((items[1].answer_tokens, 260)))
    assert logits.largest != logits.largest


def test_an_export_of_another_vocabulary_is_no_export_of_the_run(llama, tmp_path):
    own, items = tiny.language_model(llama), [only_last_answer(item) for item in tiny.encoded(3)]
    logits = LogitFile(tmp_path / "logits", items)
    observe(own, items, 4, logits.keep)
    with pytest.raises(ModelError, match="has 7 logits"):
        logits.compare(0, torch.zeros((items[0].answer_tokens, 7)))
