"""``adapter``: PEFT's own folder, a few megabytes, to be put on the same base elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fairtune.errors import ModelError
from fairtune.models.export.merging import CONFIG, require_adapter
from fairtune.models.export.protocol import Finished

if TYPE_CHECKING:
    import torch

    from fairtune.models.load import LanguageModel

_README = """# {run}

An adapter for **{source}**{revision}: {label}, {precision}, seed {seed}. {how}

The tokenizer and its chat template are the base's. {remark}
"""

_PEFT = """Put it on the same weights:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({source!r}{argument})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
```"""

_OWN = (
    "PEFT has no such method: adapter_config.json and adapter_model.safetensors are of fairtune's own layout, the "
    "weights by the names that they have in the network."
)

_CONVERT = (
    "transformers does not load that name as it stands: give it the GGUF file with `gguf_file=`, or a folder that the "
    "de-quantised model was saved in."
)


class Adapter:
    """What was trained, without the base."""

    summary = "what was trained, in PEFT's layout, without the base"
    types: tuple[str, ...] = ()

    def require(self, run: Finished) -> None:
        """A run must have an adapter."""
        if run.adapter is None:
            raise ModelError(
                f"run {run.spec.run_id} ({run.spec.method.label}) has no adapter: its model is whole; use --to merged "
                "or --to gguf"
            )
        require_adapter(run)

    def write(self, run: Finished, folder: Path, type_name: str) -> tuple[str, ...]:
        """Copies the adapter, and writes the base's name instead of the place where this machine keeps it."""
        for file in run.adapter.iterdir() if run.adapter else ():
            if file.is_file():
                shutil.copy2(file, folder / file.name)
        described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        described.update(base_model_name_or_path=run.spec.model.source, revision=run.spec.model.revision)
        (folder / CONFIG).write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", "utf-8")
        (folder / "README.md").write_text(_readme(run, "peft_type" in described), encoding="utf-8")
        return _remarks(run)

    def load(self, run: Finished, folder: Path, device: torch.device) -> tuple[LanguageModel, tuple[str, ...]]:
        """The base as the run had it, and the copied adapter on it (by plain PEFT, where it is PEFT's)."""
        return run.opened(folder, device), ()


def _remarks(run: Finished) -> tuple[str, ...]:
    """What transformers cannot load under the name that the study has for it."""
    if _loadable(run):
        return ()
    return (f"transformers cannot load the base as {run.spec.model.source!r}; its converted folder is {run.base}",)


def _loadable(run: Finished) -> bool:
    return run.spec.model.kind == "hub" or Path(run.spec.model.source).is_dir()


def _readme(run: Finished, is_peft: bool) -> str:
    model = run.spec.model
    argument = f", revision={model.revision!r}" if model.revision else ""
    return _README.format(
        run=run.spec.run_id,
        source=model.source,
        revision=f" at revision `{model.revision}`" if model.revision else "",
        how=_PEFT.format(source=model.source, argument=argument) if is_peft else _OWN,
        label=run.spec.method.label,
        precision=run.spec.precision,
        seed=run.spec.seed,
        remark=" ".join(_conditions(run)),
    )


def _conditions(run: Finished) -> list[str]:
    """What else of the base must be as it was."""
    first, code = run.spec.model.first_layers, run.code
    return [
        *([] if _loadable(run) else [_CONVERT]),
        *([f"It is for the first {first} layers of the base alone."] if first else []),
        *(
            [f"It was trained over the base in {code} (bitsandbytes); over others it answers otherwise."]
            if code
            else []
        ),
    ]
