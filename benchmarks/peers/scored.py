"""One side of ``benchmarks/evaluate.py`` or ``benchmarks/generate.py``, in a process of its own.

    python scored.py SIDE WORKLOAD.json ANSWERS.json

SIDE is ``fairtune``, or the peer: ``lm-eval`` (its own Hugging Face backend), ``transformers`` (``generate``, batch
after batch). Loads the model, answers the workload's requests, writes the answers and prints one line of measurements.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from measure import Meter, tell
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from fairtune.evaluate.generation import write
from fairtune.evaluate.harness.model import HarnessModel
from fairtune.models.load import load_model, load_tokenizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    side, workload, answers = sys.argv[1:]
    asked = json.loads(Path(workload).read_text())
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    answer = SIDES[side](asked)
    meter = Meter()
    meter.begin()
    found = answer()
    meter.tick()
    Path(answers).write_text(json.dumps(found))
    tell(meter.end())


def fairtune(asked: dict[str, Any]) -> Any:
    folder = Path(asked["model"])
    model = load_model(
        folder, load_tokenizer(folder, False), asked["precision"], torch.device("cpu"), False, asked["longest"]
    )
    if asked["kind"] == "prompts":
        return lambda: [vars(each) for each in write(model, asked["requests"], asked["most"], rows=asked["rows"])]
    return answering(HarnessModel(model), asked)


def lm_eval(asked: dict[str, Any]) -> Any:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(asked["model"], dtype=DTYPES[asked["precision"]], device="cpu", batch_size=asked["batch_size"])
    return answering(model, asked)


def answering(model: Any, asked: dict[str, Any]) -> Any:
    """lm-eval's requests, as a task makes them."""
    requests = [
        Instance(asked["kind"], {}, tuple(arguments), index, task_name=asked["name"], doc_id=index, repeats=1)
        for index, arguments in enumerate(asked["requests"])
    ]
    return lambda: getattr(model, asked["kind"])(requests, disable_tqdm=True)


def transformers(asked: dict[str, Any]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=DTYPES[asked["precision"]]).eval()
    config = GenerationConfig(
        do_sample=False, max_new_tokens=asked["most"], eos_token_id=asked["stops"], pad_token_id=asked["stops"][0]
    )
    model.generation_config = GenerationConfig()

    @torch.no_grad()
    def batch(prompts: list[list[int]]) -> list[dict[str, Any]]:
        length = max(map(len, prompts))
        tokens = torch.tensor([[config.pad_token_id] * (length - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        written = model.generate(tokens, attention_mask=mask, generation_config=config)[:, length:].tolist()
        return [{"text": text(new)} for new in written]

    def text(new: list[int]) -> str:
        end = next((place for place, token in enumerate(new) if token in asked["stops"]), None)
        return str(tokenizer.decode(new[:end], skip_special_tokens=True)).strip()

    # In the order of their lengths, the quickest that a static batch allows: little is padded.
    order = sorted(range(len(asked["requests"])), key=lambda row: len(asked["requests"][row]))

    def run() -> list[dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(order), asked["rows"]):
            rows = order[start : start + asked["rows"]]
            found |= dict(zip(rows, batch([asked["requests"][row] for row in rows]), strict=True))
        return [found[row] for row in range(len(order))]

    return run


SIDES = {"fairtune": fairtune, "lm-eval": lm_eval, "transformers": transformers}

if __name__ == "__main__":
    main()
