"""What a simulated CUDA device keeps where a CPU would keep something else."""

from __future__ import annotations

import pytest
import torch

from fairtune.plan.cuda_choices import choices_of
from fairtune.plan.ledger import Ledger
from fairtune.plan.phantom import Simulation


@pytest.mark.parametrize(("kind", "kept"), [("cuda", 4 + 1), ("cpu", 4 + 4)])
def test_dropout_keeps_truth_values_on_cuda_and_factors_on_a_cpu(kind, kept):
    ledger = Ledger(7)
    with Simulation(ledger), choices_of(kind):
        given = torch.empty(64, 64, requires_grad=True)
        before = ledger.live
        out = torch.nn.Dropout(0.1)(given)
        assert ledger.live - before == kept * given.numel()
        out.sum().backward()
        assert given.grad.shape == given.shape


@pytest.mark.parametrize("layer", [torch.nn.Dropout(0.0), torch.nn.Dropout(0.5).eval()])
def test_what_drops_nothing_keeps_nothing(layer):
    ledger = Ledger(7)
    with Simulation(ledger), choices_of("cuda"):
        given = torch.empty(64, 64, requires_grad=True)
        before = ledger.live
        assert layer(given) is not None
        assert ledger.live == before
