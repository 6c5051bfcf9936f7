"""What a method is, and what it makes of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.study import Precision, Strict

if TYPE_CHECKING:
    from torch import Tensor

    from fairtune.data import Encoded
    from fairtune.models.load import LanguageModel
    from fairtune.models.quantize import Quantization


@dataclass(frozen=True)
class Course:
    """What lies ahead of a run, as far as a method has to know.

    Attributes:
        seed: of everything random.
        updates: optimizer updates there will be.
        lessons: file of a teacher's log-probabilities for the training examples, for a method that has a teacher.
    """

    seed: int
    updates: int = 1
    lessons: Path | None = None


class Tuned:
    """A model with a method at work on it; what :attr:`Method.attach` gives.

    The defaults are those of a method that marks weights as trainable and leaves everything else as it is.
    """

    mergeable = False
    """Whether what was trained can become part of the base's weights."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.objective: Callable[[Sequence[Encoded]], Tensor] = self.cross_entropy
        """The loss of every supervised token of a batch, ``(tokens,)`` in fp32, in nats."""

    def cross_entropy(self, batch: Sequence[Encoded]) -> Tensor:
        """The usual objective: negative log-likelihood of the answer."""
        from fairtune.models.likelihood import supervised_losses

        return supervised_losses(self.model, batch)[0]

    def rate_factor(self, name: str) -> float:
        """What the learning rate is multiplied by for the parameter of this name."""
        return 1.0

    def penalty(self) -> Tensor | None:
        """A scalar that is added to the loss once an update; None for nothing."""
        return None

    def updated(self, done: int) -> None:
        """Called after update ``done`` (from 1), while its gradients are still there."""

    def kept(self) -> Any:
        """What belongs to the trained weights of this moment and is no weight; put back with them.

        Nothing but what JSON can say: it is kept on disk with them.
        """
        return None

    def put_back(self, kept: Any) -> None:
        """Undoes what happened to it since :meth:`kept`."""

    def gathered(self) -> dict[str, Tensor]:
        """What training has gathered besides weights and optimizer state, and later updates depend on."""
        return {}

    def go_on_with(self, gathered: Mapping[str, Tensor]) -> None:
        """Takes up what an interrupted training had :meth:`gathered`."""

    def merge(self) -> None:
        """Makes what was trained part of the base's weights; twice is once."""

    def unmerge(self) -> None:
        """Takes it out again, to rounding."""

    @contextlib.contextmanager
    def scoring(self) -> Iterator[None]:
        """While active, the network computes the same as in training, as fast as that can be had.

        Merged in fp32 only. A bf16 weight swallows any update below 2**-9 of itself, an fp16 weight below 2**-12, so
        the merged model would be another. The mixed precisions keep weights in fp32 and could hold the sum; but
        autocast rounds it where it is multiplied, and the update is gone there.
        """
        merged = self.mergeable and self.model.precision == "fp32"
        if merged:
            self.merge()
        try:
            yield
        finally:
            if merged:
                self.unmerge()

    def save(self, folder: Path) -> None:
        """Writes what was trained as safetensors. Here: the whole model, as ``save_pretrained`` lays it out."""
        self.model.save(folder)


def _not_quantized(options: Mapping[str, Any], precision: Precision) -> Quantization | None:
    return None


def _as_loaded(model: LanguageModel, options: Mapping[str, Any], folder: Path) -> Tuned:
    return Tuned(model)


def _none(options: Mapping[str, Any]) -> int:
    return 0


def counted(options: Mapping[str, Any]) -> int:
    """Virtual tokens by the option that all methods of the kind have."""
    return int(options.get("num_virtual_tokens") or 0)


@dataclass(frozen=True)
class Method:
    """A way to adapt a model. One file a method; nothing outside this room knows any by name.

    Importing a method is light; what needs torch or PEFT is imported by its functions.
    """

    name: str
    summary: str
    """What is trained, in a few words."""
    paper: str | None
    formula: str
    """Count of trainable parameters, as a Python expression over the options and the words of ``FORMULA_WORDS``."""
    options: type[Strict]
    attach: Callable[[LanguageModel, Mapping[str, Any], Course], Tuned]
    """Wraps ``model.network`` where needed, and marks with ``requires_grad`` what is trained.

    Raises SpecError where the options do not suit the model.
    """
    learning_rate: float | None
    learning_rate_reason: str | None
    trains: bool = True
    """False for the untouched model."""
    artifact: str | None = "adapter"
    """Folder of a run that holds the result: ``adapter``, ``model``, or None where nothing is trained."""
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    """Kinds of device it is written for. On a CPU the contract's tests probe it; the others were not at hand."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "bf16_mixed", "fp16_mixed")
    device_reason: str | None = None
    """Why a device is missing from ``devices``."""
    starts_elsewhere: str | None = None
    """Why the first outputs are not the base model's; None where they are."""
    no_checkpointing: str | None = None
    """Why activations cannot be recomputed; None where they can."""
    not_sharded: str | None = None
    """Why its weights cannot be divided among processes (fsdp); None where they can."""
    restore: Callable[[LanguageModel, Mapping[str, Any], Path], Tuned] = _as_loaded
    """Puts what :meth:`Tuned.save` wrote on a fresh copy of the base. A model that was saved whole needs nothing."""
    quantization: Callable[[Mapping[str, Any], Precision], Quantization | None] = _not_quantized
    """In which code the frozen base is loaded."""
    virtual_tokens: Callable[[Mapping[str, Any]], int] = _none
    """Positions that it puts before every text, by its options."""
    inner: Callable[[Mapping[str, Any]], tuple[Method, Mapping[str, Any]]] | None = None
    """The method that this one leaves the weights to, and its options; None where it is its own."""
    open: bool = False
    """Whether it takes keys that ``options`` does not name."""

    def acting(self, options: Mapping[str, Any]) -> Method:
        """The method whose weights move, whose files are saved, whose limits hold."""
        return self if self.inner is None else self.inner(options)[0].acting(self.inner(options)[1])


FORMULA_WORDS = {
    "weights": "all parameters of the model",
    "biases": "all bias terms, those that are added included",
    "chosen": "parameters of the named modules, or of the last layers",
    "targets": "(d_in, d_out) of every linear layer that is a target",
    "feedforward": "(d_in, d_out) of the targets whose input is scaled",
    "target_biases": "bias terms that are trained besides",
    "layers": "transformer layers",
    "hidden": "width of the residual stream",
    "kv_width": "key-value heads × width of a head",
}
