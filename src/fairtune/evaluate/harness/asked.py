"""What a benchmark asks, item by item and without few-shot examples: to be looked for in training data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fairtune.data import Example, Message
from fairtune.evaluate.harness.calling import calling_lm_eval
from fairtune.evaluate.harness.tasks import OpenBenchmark


def items_of(opened: OpenBenchmark) -> list[Example]:
    """The scored items as examples called ``task/number``.

    An item is there as its task writes it and, where its template puts the same words around every question
    (``Question: … Answer:``), once more without them: training data have their own.
    """
    with calling_lm_eval():
        return [
            Example(f"{name}/{number}", messages)
            for name, task in opened.tasks.items()
            for number, doc in {request.doc_id: request.doc for request in task.instances}.items()
            for messages in _ways(task, doc)
        ]


def _ways(task: Any, doc: Any) -> Iterator[tuple[Message, ...]]:
    question, answer = _asked(task, doc)
    bare = _without_template(task, question)
    for text in dict.fromkeys([question, bare]):
        if text:
            yield Message("user", text), Message("assistant", answer)
    if not question and answer:
        yield (Message("assistant", answer),)  # a text that is scored by itself


def _asked(task: Any, doc: Any) -> tuple[str, str]:
    """Question and right answer."""
    question, answer = task.doc_to_text(doc), task.doc_to_target(doc)
    choices = task.doc_to_choice(doc) if task.get_config("doc_to_choice") is not None else []
    if getattr(task, "multiple_input", 0) and isinstance(question, int):
        # The choices are beginnings of one sentence, and the target is its end.
        return f"{_of(choices, question)} {answer}".strip(), ""
    return str(question).strip(), _of(choices, answer).strip()


def _of(choices: list[str], answer: Any) -> str:
    """A choice by its place, the first of several answers, or the answer itself."""
    if isinstance(answer, list):
        return _of(choices, answer[0]) if answer else ""
    if isinstance(answer, int) and 0 <= answer < len(choices):
        return str(choices[answer])
    return str(answer)


def _without_template(task: Any, question: str) -> str:
    """Without what its template says before and after everything that it fills in."""
    template = task.get_config("doc_to_text")
    if not isinstance(template, str) or "{" not in template or "}" not in template:
        return question
    before, after = template[: template.index("{")], template[template.rindex("}") + 1 :]
    return question.removeprefix(before.strip()).removesuffix(after.strip()).strip()
