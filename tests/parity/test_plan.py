"""A simulated run takes the memory, to the byte, and the operations that a real one takes."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from fairtune.data import Encoded
from fairtune.methods import METHODS, Course
from fairtune.models.load import ready
from fairtune.models.precision import WEIGHTS
from fairtune.plan.ledger import ADAPTER, Ledger
from fairtune.plan.ledger import WEIGHTS as WEIGHTS_TERM
from fairtune.plan.model import Blueprint
from fairtune.plan.replay import Exact, replay
from fairtune.plan.simulate import Case, Workload, _worked, simulate
from tests import tiny
from tests.contract.cases import CASES, RECIPE


class Watch(TorchDispatchMode):
    """Tells a ledger of the memory of real tensors."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger, self._known = ledger, dict[int, Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.see(tensor)
        return out

    def see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            gone = self._ledger.made(storage.nbytes(), tensor)
            self._known[key] = weakref.ref(storage, lambda _: (self._known.pop(key), gone()))


def text(index: int, length: int, prompt: int = 6) -> Encoded:
    tokens = tuple((31 * index + 7 * place) % 250 + 3 for place in range(length))
    return Encoded(f"{index}", tokens, tuple(place >= prompt for place in range(length)), prompt, "")


TEXTS = [text(index, 12 + 5 * index) for index in range(6)]
WORK = Workload(train=TEXTS, scored=TEXTS, hits=True, prompts=[item.prompt for item in TEXTS], answer_tokens=3)


def case(method: str, options: dict[str, Any], kind: str, precision: str, **recipe: Any) -> Case:
    chosen = METHODS[method].options.model_validate(options).model_dump()
    blueprint = Blueprint(tiny.config(kind), precision, None, "cpu", 64)
    training = RECIPE.model_copy(update=recipe) if METHODS[method].trains else None
    return Case(blueprint, method, chosen, training, tokens=64)


def really(asked: Case, counter: Any = None) -> Ledger:
    """The same work on real tensors; the counter is on after loading."""
    blueprint = asked.blueprint
    network = AutoModelForCausalLM.from_config(
        blueprint.config, dtype=WEIGHTS[blueprint.precision], attn_implementation="eager"
    )
    ledger = Ledger(network.get_input_embeddings().num_embeddings)
    watch = Watch(ledger)
    with watch:
        with ledger.phase("load", WEIGHTS_TERM):
            for tensor in (*network.parameters(), *network.buffers()):
                watch.see(tensor)
            model = ready(network, tiny.tokenizer(), blueprint.precision, torch.device("cpu"))
            model.stops = [259]
            ledger.begin(ADAPTER)
            tuned = METHODS[asked.method].attach(model, asked.options, Course(0))
        tuned.model.batching = replace(tuned.model.batching, budget=asked.tokens)
        with counter or contextlib.nullcontext():
            _worked(tuned, asked, WORK, ledger)
    return ledger


# Methods over a quantised base have a reality of their own (tests/slow).
PLAIN = [each for each in CASES if METHODS[each.method].quantization({}, "bf16") is None]
# Where gradients meet, torch adds real ones up in place, and tensors of a class of their own not: one more is there.
NEAR = 0.025


@pytest.mark.parametrize("each", PLAIN, ids=lambda each: each.id)
def test_memory_is_that_of_a_real_run(each: Any) -> None:
    asked = case(each.method, each.options, each.kind, "bf16")
    simulated = replay(simulate(asked, WORK).trace, Exact())
    real = replay(really(asked).trace, Exact())
    assert simulated.keys() == real.keys()
    for phase in simulated.keys() - {"load"}:
        assert simulated[phase].reserved == pytest.approx(real[phase].reserved, rel=NEAR), phase


@pytest.mark.parametrize("precision", ["fp32", "bf16_mixed"])
@pytest.mark.parametrize("again", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_memory_in_every_precision(method: str, again: bool, precision: str) -> None:
    asked = case(method, {}, "llama", precision, gradient_checkpointing=again)
    simulated = replay(simulate(asked, WORK).trace, Exact())
    real = replay(really(asked).trace, Exact())
    for phase in simulated.keys() - {"load"}:
        assert simulated[phase].reserved == pytest.approx(real[phase].reserved, rel=NEAR), phase


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3"])
def test_operations_are_those_of_a_real_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by torch's own counter."""
    monkeypatch.setattr("fairtune.plan.simulate.look_for_dropout", lambda tuned: None)  # passes of no phase
    asked = case("full", {}, kind, "fp32")
    counter = FlopCounterMode(display=False)
    really(asked, counter)
    found = simulate(asked, WORK)
    simulated = sum(each.flops() for each in found.passes)
    assert simulated == pytest.approx(counter.get_total_flops(), rel=0.01)
