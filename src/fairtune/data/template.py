"""A model's chat template, applied as transformers applies it, many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fairtune.errors import DataError

# Some templates write a date, or ask for thoughts before the answer. A score must not depend on the day it was made;
# an answer that is compared with a reference has no thoughts. Other templates ignore both. (A template that calls the
# clock itself is beyond reach; items are paired by their prompts, so its runs of two days are not compared.)
FIXED = {"enable_thinking": False, "date_string": "26 Jul 2024"}

Messages = list[dict[str, str]]


class Template:
    """The chat template of a tokenizer that has one.

    It is compiled once: what ``apply_chat_template`` does around it for every conversation takes longer than a short
    conversation itself. A tokenizer with an ``apply_chat_template`` of its own keeps it.
    """

    def __init__(self, tokenizer: Any) -> None:
        from transformers.tokenization_utils_base import PreTrainedTokenizerBase
        from transformers.utils.chat_template_utils import _compile_jinja_template

        from fairtune.data.form import Form, is_form

        self._tokenizer = tokenizer
        self._write: Callable[[Messages, bool], str] = self.asked
        if type(tokenizer).apply_chat_template is PreTrainedTokenizerBase.apply_chat_template:
            source = tokenizer.get_chat_template()
            self._compiled = _compile_jinja_template(source)
            self._words = {"tools": None, "documents": None, **tokenizer.special_tokens_map, **FIXED}
            simple = is_form(self._compiled.environment.parse(source), source)
            self._write = Form(self._rendered) if simple else self._rendered

    def __call__(self, messages: Messages, generate: bool) -> str:
        """The conversation as the model reads it; ``generate``: up to where its answer begins.

        Raises:
            DataError: the template refuses the conversation.
        """
        try:
            return self._write(messages, generate)
        except Exception as error:  # a template is a program of the model's, and may raise anything
            raise DataError(f"the model's chat template refuses the conversation: {error}") from error

    def _rendered(self, messages: Messages, generate: bool) -> str:
        return str(self._compiled.render(self._words, messages=messages, add_generation_prompt=generate))

    def asked(self, messages: Messages, generate: bool) -> str:
        """The same by the tokenizer itself."""
        return str(
            self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate, **FIXED)
        )


def template_of(tokenizer: Any) -> Template | None:
    """The model's chat template; None where it has none.

    Raises:
        DataError: it is no template.
    """
    if not tokenizer.chat_template:
        return None
    try:
        return Template(tokenizer)
    except Exception as error:  # as above: it may fail to compile in any way
        raise DataError(f"the model's chat template cannot be read: {error}") from error
