"""``--model fairtune`` for lm-eval's own command: our model by its folder, hub id or file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lm_eval.api.registry import register_model

from fairtune.errors import SpecError, suggest
from fairtune.evaluate.harness.model import HarnessModel
from fairtune.methods.folder import require_adapter, wearing
from fairtune.models import fetch, identify
from fairtune.models.device import choose_device, kinds_there
from fairtune.models.opening import LONGEST, context_of, open_model, open_tokenizer
from fairtune.study import ModelRef, Precision

_TYPES: dict[str, Precision] = {"float32": "fp32", "fp32": "fp32", "bfloat16": "bf16", "bf16": "bf16", "auto": "fp32"}
_UNSAID = "cuda:0"


@register_model("fairtune")
class Fairtune(HarnessModel):
    """What ``--model_args`` may say.

    Args:
        pretrained: a hub id, folder, GGUF file or file in a wheel, as under a study's ``models``.
        adapter: folder of an adapter in PEFT's layout.
        dtype: float32 or bfloat16.
        device: auto, cpu, cuda, cuda:N or mps; lm-eval's own command says cuda:0 where nobody said anything, which is
            then the best there is.
        batch_size, max_batch_size: taken and not used: batches are cut by tokens, whatever they are.

    Raises:
        SpecError: an argument that is not understood.
        ModelError: the model or adapter cannot be had.
    """

    def __init__(
        self,
        pretrained: str,
        adapter: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        batch_size: Any = None,
        max_batch_size: Any = None,
    ) -> None:
        if dtype not in _TYPES:
            raise SpecError(f"dtype={dtype}: unknown; {suggest(dtype, _TYPES)}")
        if adapter is not None:
            require_adapter(Path(adapter))
        ref = ModelRef(source=pretrained, revision=revision, trust_remote_code=trust_remote_code)
        choice = identify(ref, Path())
        folder = fetch(choice, print)
        tokenizer = open_tokenizer(choice, folder, ())
        longest = context_of(choice, folder) or LONGEST
        chosen = choose_device("auto" if device == _UNSAID and "cuda" not in kinds_there() else device)
        model = open_model(choice, folder, tokenizer, _TYPES[dtype], chosen, longest, 0)
        # Held until the process ends: lm-eval has no moment for closing.
        self._worn = contextlib.ExitStack()
        if adapter is not None:
            model = self._worn.enter_context(wearing(model, Path(adapter))).model
        super().__init__(model, max_length, add_bos_token, prefix_token_id)
