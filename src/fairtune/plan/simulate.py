"""A run without numbers: the real training step, scoring and writing, on a model that weighs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fairtune.data import Encoded
from fairtune.errors import FairtuneError
from fairtune.evaluate.generation import write
from fairtune.methods import METHODS, Course, Tuned
from fairtune.methods.targets import blocks
from fairtune.models.lessons import log_probabilities
from fairtune.models.likelihood import item_losses
from fairtune.models.load import LanguageModel
from fairtune.models.quantize import parameter_count, weight_bytes
from fairtune.models.rows import Batching
from fairtune.plan.cuda_choices import choices_of
from fairtune.plan.ledger import ACTIVATIONS, ADAPTER, GRADIENTS, OPTIMIZER, WEIGHTS, Ledger, Pass, Trace
from fairtune.plan.model import Blueprint, describe, fill
from fairtune.plan.phantom import Simulation
from fairtune.plan.picks import Picked, pick_scoring, pick_training
from fairtune.study import Generation, Training
from fairtune.train.loop import look_for_dropout, recomputing
from fairtune.train.optimizer import optimizer_of
from fairtune.train.parallel.alone import Alone
from fairtune.train.parallel.parts import Part
from fairtune.train.step import step

# Answers that are written at a time (evaluate/generation.py), and how many tokens of each are simulated: reading, a
# step, and one more to see what a step adds.
_ROWS, _STEPS = 32, 3
_GREEDY = Generation()


@dataclass(frozen=True)
class Case:
    """What of a run decides its memory and time, besides its texts."""

    blueprint: Blueprint
    method: str
    options: Mapping[str, Any]
    training: Training | None
    ranks: int = 1
    sharded: bool = False
    """Whether weights are divided among processes; the loss then needs all logits."""
    tokens: int | None = None
    """Of a pass at most; None for as many as are quickest."""
    room: int | None = None
    """Bytes of the device beside the weights; None: what this machine has free."""


@dataclass(frozen=True)
class Workload:
    """The texts of a run.

    Attributes:
        train: training examples, cut to their length, as ``validation``.
        scored: items whose likelihood is asked for; none if none is.
        hits: whether to look for the likeliest tokens, too.
        prompts: what is to be answered; none if nothing is written.
        answer_tokens: the longest answer.
    """

    train: Sequence[Encoded] = ()
    validation: Sequence[Encoded] = ()
    scored: Sequence[Encoded] = ()
    hits: bool = False
    prompts: Sequence[Sequence[int]] = ()
    answer_tokens: int = 0
    generation: Generation = _GREEDY
    seed: int = 0
    lessons: Path | None = None
    """Of a teacher, for the training examples; their numbers do not matter."""


@dataclass(frozen=True)
class Sizes:
    """Of a model with what its method added: ``parameters`` and those that are ``trainable`` in numbers, else bytes."""

    weights: int
    parameters: int
    trainable: int
    largest_layer: int
    outside_layers: int


@dataclass(frozen=True)
class Simulated:
    """What a simulation found out.

    Attributes:
        training: the passes of an epoch, if any; ``scoring`` those over the scored items.
    """

    trace: Trace
    passes: tuple[Pass, ...]
    sizes: Sizes
    packed: bool
    training: Picked | None
    scoring: Picked | None
    prompt_tokens: tuple[int, ...] = ()
    validation_tokens: int = 0


class CannotSimulateError(Exception):
    """The model's own code does what cannot be done without numbers.

    Attributes:
        sizes: of the model, with what the method added.
    """

    def __init__(self, cause: Exception, sizes: Sizes) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.sizes = sizes


def simulate(case: Case, workload: Workload, tokenizer: Any = None) -> Simulated:
    """Loads, trains, scores and writes as the run would, the largest passes of each.

    Raises:
        CannotSimulateError: the model's code cannot work without numbers.
        SpecError: the method does not suit the model.
    """
    network = describe(case.blueprint)
    ledger = Ledger(network.get_input_embeddings().num_embeddings)
    sizes = _most(network)
    with Simulation(ledger), choices_of(case.blueprint.kind):
        try:
            tuned = _loaded(network, case, workload, tokenizer, ledger)
            sizes = _sizes(tuned.model.network)
            picked = _worked(tuned, case, workload, ledger)
        except FairtuneError:
            raise
        except Exception as error:  # a model's own code, made to work with numbers
            raise CannotSimulateError(error, sizes) from error
    batching = tuned.model.batching
    validation = sum(micro.computed for micro in batching.cut(workload.validation))
    prompts = tuple(map(len, workload.prompts))
    return Simulated(ledger.trace, tuple(ledger.passes), sizes, batching.packed, *picked, prompts, validation)


def simulate_teaching(blueprint: Blueprint, examples: Sequence[Encoded]) -> Simulated:
    """A teacher that is heard on the training examples; its phase is ``teach``.

    Raises:
        CannotSimulateError: as :func:`simulate`.
    """
    network = describe(blueprint)
    ledger = Ledger(network.get_input_embeddings().num_embeddings)
    with Simulation(ledger), choices_of(blueprint.kind):
        with ledger.phase("load", WEIGHTS):
            model = fill(network, blueprint)
        heard = pick_scoring(examples, model.batching)
        try:
            _teach(model, heard, ledger)
        except Exception as error:  # a model's own code, made to work with numbers
            raise CannotSimulateError(error, _sizes(network)) from error
        sizes = _sizes(network)
    return Simulated(ledger.trace, tuple(ledger.passes), sizes, model.batching.packed, None, heard)


@torch.no_grad()
def _teach(model: LanguageModel, heard: Picked, ledger: Ledger) -> None:
    with ledger.phase("teach"):
        for part in [heard.largest] if heard.alike else [heard.typical, heard.largest]:
            log_probabilities(model, part.examples, len(model.tokenizer), 1.0)
            ledger.close_pass("pass", part.computed)


def _loaded(network: Any, case: Case, workload: Workload, tokenizer: Any, ledger: Ledger) -> Tuned:
    with ledger.phase("load", WEIGHTS):
        model = fill(network, case.blueprint, tokenizer)
        ledger.begin(ADAPTER)
        tuned = METHODS[case.method].attach(model, case.options, Course(0, 1, workload.lessons))
    tuned.model.room = case.room
    if case.tokens is not None:
        tuned.model.batching = replace(tuned.model.batching, budget=case.tokens)
    if case.sharded:
        tuned.model.batching = replace(tuned.model.batching, fused=False)
    return tuned


def _most(network: Any) -> Sizes:
    """What a network has that was only described, as if all of it were trained."""
    parameters = list(network.parameters())
    count, size = sum(map(parameter_count, parameters)), sum(p.numel() * p.element_size() for p in parameters)
    return Sizes(size, count, count, size, 0)


def _sizes(network: Any) -> Sizes:
    parameters = list(network.parameters())
    layers = [weight_bytes(layer.parameters()) for layer in blocks(network)[1]]
    whole = weight_bytes(parameters)
    return Sizes(
        weights=whole,
        parameters=sum(parameter_count(p) for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        largest_layer=max(layers),
        outside_layers=whole - sum(layers),
    )


def _worked(tuned: Tuned, case: Case, workload: Workload, ledger: Ledger) -> tuple[Picked | None, Picked | None]:
    """All phases after loading; gives the passes of training and of scoring."""
    training = scoring = None
    if case.training is not None and len(workload.train):
        look_for_dropout(tuned)
        training = _picked_of(case, workload, tuned.model.batching_now)
        _train(tuned, case.training, training, ledger)
    with tuned.scoring():
        if workload.scored:
            scoring = pick_scoring(workload.scored, tuned.model.batching)
            _score(tuned.model, scoring, workload.hits, ledger)
        if workload.prompts:
            _write(tuned.model, workload, ledger)
    return training, scoring


def _picked_of(case: Case, workload: Workload, batching: Batching) -> Picked:
    assert case.training is not None, "nothing is trained"  # noqa: S101
    return pick_training(workload.train, case.training.batch_size, workload.seed, batching, case.ranks)


class _Script(Alone):
    """An update of given passes, each of which the ledger is told of."""

    def __init__(self, parts: Sequence[Part], ledger: Ledger) -> None:
        self._parts, self._ledger = parts, ledger

    def parts(self, examples: Sequence[Encoded], batching: Batching) -> Iterator[Part]:
        for part in self._parts:
            yield part
            self._ledger.close_pass("pass", part.computed)

    def reduce(self, tensors: Sequence[torch.Tensor]) -> None:
        self._ledger.name(GRADIENTS, [tensor.grad for tensor in tensors])
        self._ledger.begin(OPTIMIZER)


def _train(tuned: Tuned, training: Training, picked: Picked, ledger: Ledger) -> None:
    """The largest pass where it takes most: with the optimizer's state there, and gradients if there would be any."""
    other = [] if picked.alike else [[picked.typical]]
    together = [[picked.typical, picked.largest]] if picked.behind else [*other, [picked.largest]]
    with ledger.phase("train", OPTIMIZER), recomputing(tuned, training):
        tuned.model.network.train()
        optimizer = optimizer_of(tuned, training)
        optimizer.make_room()
        ledger.close_pass("state", 0)
        for parts in together:
            ledger.begin(ACTIVATIONS)
            batch = [item for part in parts for item in part.examples]
            step(tuned, batch, optimizer, 1e-4, 1, _Script(parts, ledger))
            ledger.close_pass("update", 0)
        optimizer.close()


def _score(model: LanguageModel, picked: Picked, hits: bool, ledger: Ledger) -> None:
    with ledger.phase("evaluate"):
        for part in [picked.largest] if picked.alike else [picked.typical, picked.largest]:
            item_losses(model, part.examples, hits=hits)
            ledger.close_pass("pass", part.computed)


def _write(model: LanguageModel, workload: Workload, ledger: Ledger) -> None:
    """The longest answers, as they are when they are nearly done: a few last steps."""
    ahead = max(0, workload.answer_tokens - _STEPS)
    prompts = sorted(workload.prompts, key=len)[-_ROWS:]
    flows = model.batching.branches
    # In a flow, what a draft has written is read with its prompt when it comes back; so may what it never wrote.
    texts = [[*prompt, *[0] * ahead] for prompt in prompts] if flows else prompts
    with ledger.phase("generate"), _passes(model, ledger, 0 if flows else ahead):
        write(model, texts, min(_STEPS, workload.answer_tokens), workload.generation, range(len(texts)))
    ledger.name_caches()


@contextlib.contextmanager
def _passes(model: LanguageModel, ledger: Ledger, ahead: int) -> Iterator[None]:
    """Tells the ledger of every forward pass.

    Args:
        ahead: steps that are not made. In the last of a batch, what each step adds is there so many times more.
    """
    passes, live = 0, [0, 0]

    def began(embeddings: Any, args: Any) -> None:
        nonlocal passes
        ledger.next_pass(args[0].numel())
        live.append(ledger.live)
        if ahead and passes % _STEPS == _STEPS - 1:
            ledger.stretch((live[-1] - live[-2]) * ahead)
        passes += 1

    hook = model.network.get_input_embeddings().register_forward_pre_hook(began)
    try:
        yield
    finally:
        hook.remove()
        ledger.next_pass(0)
