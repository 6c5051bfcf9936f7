"""The parts of the planner, each against what can be worked out by hand."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fairtune.data import Encoded
from fairtune.methods import METHODS
from fairtune.models.rows import Batching
from fairtune.plan.bound import bound
from fairtune.plan.cost import StatedClock, seconds_of, seconds_of_all
from fairtune.plan.devices import find_device
from fairtune.plan.ledger import Ledger, Pass, Span, Trace
from fairtune.plan.model import Blueprint
from fairtune.plan.operations import Operation
from fairtune.plan.phantom import Phantom, Simulation
from fairtune.plan.picks import pick_scoring, pick_training
from fairtune.plan.replay import Exact, replay
from fairtune.plan.sharing import Sharing, exchange_seconds, shared_trace
from fairtune.plan.simulate import CannotSimulateError, Case, Simulated, Workload, simulate
from fairtune.plan.verdict import binding_of, fit_of
from fairtune.records import PlannedPhase
from fairtune.study import Training
from tests import tiny


class Silent:
    def made(self, size: int, tensor: torch.Tensor) -> Callable[[], None]:
        return lambda: None

    def did(self, func: Any, args: Any, key: Any, out: Any) -> None:
        pass


class Scale(Silent):
    """Counts bytes."""

    def __init__(self) -> None:
        self.live = 0

    def made(self, size: int, tensor: torch.Tensor) -> Callable[[], None]:
        self.live += size

        def gone() -> None:
            self.live -= size

        return gone


def text(index: int, length: int, prompt: int = 6) -> Encoded:
    tokens = tuple((31 * index + 7 * place) % 250 + 3 for place in range(length))
    return Encoded(f"{index}", tokens, tuple(place >= prompt for place in range(length)), prompt, "")


def test_what_does_not_depend_on_the_unknown_is_computed() -> None:
    with Simulation(Silent()):
        unknown = torch.zeros(4, 6)
        known = torch.arange(6).float() / 2
        chosen = torch.tensor([True, False, True, True])
        assert isinstance(unknown, Phantom)
        assert known.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
        assert unknown[chosen].shape == (3, 6)
        assert (unknown + known).shape == (4, 6)
        assert float(unknown.sum()) == 0.0


def test_gradients_have_the_shape_and_type_that_they_would_have() -> None:
    with Simulation(Silent()):
        layer = torch.nn.Linear(8, 3, dtype=torch.bfloat16)
        layer(torch.empty(5, 8, dtype=torch.bfloat16)).float().sum().backward()
        assert layer.weight.grad is not None
        assert (layer.weight.grad.shape, layer.weight.grad.dtype) == ((3, 8), torch.bfloat16)


def test_memory_is_counted_once_and_as_long_as_it_is_there() -> None:
    scale = Scale()
    with Simulation(scale):
        first = torch.empty(10, 10)
        view = first.t()[2:]
        assert scale.live == 400
        del first
        assert scale.live == 400, "a view keeps it"
        changed = torch.nn.Parameter(view.contiguous())
        del view
        assert scale.live == 4 * 80
        changed.data = changed.data.to(torch.bfloat16)
        assert (changed.dtype, scale.live) == (torch.bfloat16, 2 * 80)
        other = copy.deepcopy(changed)
        assert scale.live == 4 * 80
        assert other.data_ptr() != changed.data_ptr()


def test_a_tensor_without_numbers_is_of_no_use_elsewhere() -> None:
    with Simulation(Silent()):
        unknown = torch.zeros(3)
    with pytest.raises(RuntimeError, match="outside of its simulation"):
        unknown + 1


def simulated(method: str, precision: str = "fp32", layers: int = 2, **recipe: Any) -> Simulated:
    options = METHODS[method].options().model_dump()
    training = Training(epochs=1, batch_size=4, **recipe)
    config = tiny.config()
    config.num_hidden_layers = layers
    blueprint = Blueprint(config, precision, None, "cpu", 64)  # type: ignore[arg-type]
    work = Workload(train=[text(index, 24) for index in range(8)])
    return simulate(Case(blueprint, method, options, training, tokens=48), work)


def test_terms_of_full_fine_tuning_are_those_of_adamw() -> None:
    """Weights, gradients and two moments in fp32; an update of two passes, so that gradients of the first are there."""
    found = simulated("full")
    terms = replay(found.trace, Exact())["train"].terms
    count = found.sizes.parameters
    assert found.sizes.trainable == count
    assert terms["gradients"] == 4 * count
    assert terms["optimizer"] == pytest.approx(8 * count, rel=0.01)  # and a step counter for each tensor
    # Rotary frequencies are no parameters.
    assert terms["weights"] == pytest.approx(4 * count, rel=0.01)


def test_masters_of_bf16_weights_belong_to_the_optimizer() -> None:
    found = simulated("full", "bf16")
    terms = replay(found.trace, Exact())["train"].terms
    assert terms["optimizer"] == pytest.approx(12 * found.sizes.parameters, rel=0.01)
    assert terms["weights"] == pytest.approx(2 * found.sizes.parameters, rel=0.01)


def test_recomputing_activations_takes_less() -> None:
    kept, again = (
        replay(simulated("lora", layers=8, gradient_checkpointing=on).trace, Exact()) for on in (False, True)
    )
    assert again["train"].terms["activations"] < 0.5 * kept["train"].terms["activations"]


def test_seeds_and_rates_change_nothing() -> None:
    one, other = (replay(simulated("lora", learning_rate=rate).trace, Exact()) for rate in (1e-4, 1e-3))
    assert one == other


def test_the_largest_pass_is_found_wherever_it_is() -> None:
    examples = [text(index, 10 if index != 5 else 40) for index in range(16)]
    found = pick_training(examples, 4, 0, Batching(budget=48), 1)
    assert found.largest.computed == max(found.tokens)
    assert any(len(item.tokens) == 40 for item in found.largest.examples)
    assert found.share == 1


def test_passes_that_are_scored_are_all_counted() -> None:
    examples = [text(index, 10) for index in range(16)]
    found = pick_scoring(examples, Batching(budget=30))
    assert sum(found.tokens) == sum(item.needed for item in examples)
    assert found.alike


def trace(*events: int, spans: tuple[Span, ...]) -> Trace:
    numbers = max(event if event >= 0 else ~event for event in events) + 1
    sizes = [100 * 2**number for number in range(numbers)]
    return Trace(sizes, ["weights", "activations", "gradients", "cache"][:numbers], list(events), list(spans))


def test_a_peak_is_the_highest_moment_of_its_phase() -> None:
    found = replay(trace(0, 1, ~1, 2, ~2, 3, spans=(Span("load", 0, 1), Span("train", 1, 5))), Exact())
    assert found["load"].terms == {"weights": 100}
    assert found["train"].terms == {"weights": 100, "gradients": 400}
    assert found["train"].reserved == 500
    assert found["train"].beyond == 0


def test_what_a_later_pass_finds_is_cache() -> None:
    ledger = Ledger(vocabulary=9)
    with Simulation(ledger), ledger.phase("generate"):
        ledger.next_pass(3)
        kept = torch.empty(4)
        gone = torch.empty(8)
        del gone
        ledger.next_pass(1)
        del kept
        ledger.next_pass(0)
    ledger.name_caches()
    assert dict(zip(ledger.trace.sizes, ledger.trace.terms, strict=True)) == {16: "cache", 32: "activations"}


def test_shares_of_several_processes() -> None:
    """Divided: weights and gradients by two, activations not; the layer that computes and the next are whole."""
    found = simulated("full")
    alone = replay(found.trace, Exact())["train"]
    halves = replay(shared_trace(found, Sharing("fsdp", 2, None)), Exact())
    whole = 2 * found.sizes.largest_layer + found.sizes.outside_layers
    fixed = {"gradients", "optimizer"}
    for term in fixed:
        assert halves["train"].terms[term] == pytest.approx(alone.terms[term] / 2, rel=0.01)
    assert halves["train"].terms["weights"] == pytest.approx(alone.terms["weights"] / 2 + whole, rel=0.01)
    assert halves["load"] == replay(found.trace, Exact())["load"]


def test_a_ring_sends_twice_what_all_get() -> None:
    found = simulated("full")
    seconds = exchange_seconds(found, Sharing("ddp", 4, 1e6))
    assert seconds == pytest.approx(2 * 4 * found.sizes.trainable * 0.75 / 1e6)
    assert exchange_seconds(found, Sharing("ddp", 4, None)) is None


def test_an_operation_takes_what_is_slower() -> None:
    device = find_device("a100-80gb")
    clock = StatedClock(device)
    peak, bandwidth = device.flops["bf16"], device.bandwidth
    assert peak is not None
    assert bandwidth is not None
    product = Operation("mm", 1e12, 1000, (1, 1, 1, 1), torch.bfloat16)
    moving = Operation("add", 0, 10**9, None, torch.bfloat16)
    assert clock.seconds(product) == pytest.approx(1e12 / (peak * device.achieved))
    assert clock.seconds(moving) == pytest.approx(1e9 / bandwidth)
    both = Pass("train", "pass", 1, Counter({product: 2, moving: 3}))
    assert seconds_of(both, clock) == pytest.approx(2 * clock.seconds(product) + 3 * clock.seconds(moving))


def test_passes_between_two_that_are_known() -> None:
    assert seconds_of_all([(100, 2.0), (200, 3.0)], [100, 150, 300]) == pytest.approx(2.0 + 2.5 + 4.0)
    assert seconds_of_all([(100, 2.0)], [50, 100]) == pytest.approx(3.0)
    assert seconds_of_all([(100, 2.0), (101, 2.1)], [101]) == pytest.approx(2.1)


@pytest.mark.parametrize(
    ("budget", "verdict"), [(2000, "fits"), (1081, "fits"), (1000, "tight"), (900, "does_not_fit")]
)
def test_verdicts_leave_a_margin_either_way(budget: int, verdict: str) -> None:
    assert fit_of(1000, budget, margin=0.08) == verdict
    assert fit_of(None, budget) == "unknown"


def test_what_binds_is_the_largest_term_of_the_highest_phase() -> None:
    phases = {
        "train": PlannedPhase(peak_bytes=3 << 30, seconds=None, terms={"weights": 1 << 30, "logits": 2 << 30}),
        "evaluate": PlannedPhase(peak_bytes=1 << 30, seconds=None, terms={"weights": 1 << 30}),
    }
    assert binding_of(phases) == "train: logits 2.00 GiB of 3.00 GiB"  # type: ignore[arg-type]
    assert binding_of({}) is None


def test_code_that_needs_numbers_says_so_and_is_bounded_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs_numbers(*args: Any, **kwargs: Any) -> None:
        raise ValueError("it wants to know")

    real = replay(simulated("full").trace, Exact())["train"]
    monkeypatch.setattr("fairtune.plan.simulate.step", needs_numbers)
    with pytest.raises(CannotSimulateError, match="it wants to know") as told:
        simulated("full")
    sizes = told.value.sizes
    assert sizes.trainable == sizes.parameters
    phases = bound(tiny.config(), sizes.weights, sizes.trainable, 48, 24, 4, 0)
    assert phases["train"].peak_bytes is not None
    assert phases["train"].peak_bytes > real.reserved
    assert phases["train"].reason
