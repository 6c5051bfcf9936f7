"""Back-translation: a prompt goes into another language and comes back in other words.

As augmentation of questions: Yu et al. 2018, section 4. Two translators, each a sequence-to-sequence model or a
command; both decode by one fixed rule, so a prompt has one variant, and ``ratio`` is at most 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from fairtune.data.augment.protocol import Augmentation, Change, TextOptions, Tools
from fairtune.data.augment.translator import Translator, command_identity, command_translator, translated
from fairtune.study import ModelRef, Strict
from fairtune.study.fields import Count, Number

_WAYS = ("there", "back")


class Way(Strict):
    """One direction: a model, or a command."""

    source: str | None = Field(default=None, min_length=1, description="hub id or ./folder of a seq2seq model")
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub model")
    instruction: str = Field(default="", description='put before every line; T5 wants "translate English to German: "')
    source_language: str | None = Field(default=None, description="for models of many languages: eng_Latn")
    target_language: str | None = Field(default=None, description="the token its translations begin with: deu_Latn")
    beams: Count = Field(default=1, description="width of the beam search; 1 is greedy")
    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="program and arguments; reads lines, writes as many. No shell"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Way:
        if (self.source is None) == (self.command is None):
            raise ValueError("needs a model (`source`) or a `command`, and not both")
        if self.command is not None and self.model_dump(exclude_defaults=True).keys() != {"command"}:
            raise ValueError("a `command` has no other settings")
        return self


def _as_way(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


class BackTranslationOptions(TextOptions):
    """Who translates."""

    ratio: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=1.0, description="examples added, for each that there is; at most 1, since a prompt has one variant"
    )
    there: Annotated[Way, BeforeValidator(_as_way)] = Field(description="out of the prompts' language")
    back: Annotated[Way, BeforeValidator(_as_way)] = Field(description="into it again")


def _way(options: BackTranslationOptions, name: str) -> Way:
    found: Way = getattr(options, name)
    return found


def _change(options: BackTranslationOptions, texts: Sequence[str], tools: Tools) -> Change:
    cache = tools.cache / "translations"
    there = translated(texts, _translator(options, "there", tools), cache)
    back = translated(dict.fromkeys(there.values()), _translator(options, "back", tools), cache)

    def change(texts: Sequence[str], draw: Random) -> list[str]:
        # A translator may answer with nothing; a question of no words is none.
        return [back[there[text]] if back[there[text]].strip() else text for text in texts]

    return change


def _translator(options: BackTranslationOptions, name: str, tools: Tools) -> Translator:
    way = _way(options, name)
    if way.command is not None:
        return command_translator(way.command, tools.root)
    return tools.translator(name, way.model_dump())


def _fingerprint(options: BackTranslationOptions, root: Path) -> str:
    """Of commands; what stands for a model is known where models are. Settings are told apart by themselves."""
    ways = {name: _way(options, name) for name in _WAYS}
    told = [
        f"{name} {command_identity(way.command, root)}" if way.command else f"{name} {_settings(way)}"
        for name, way in ways.items()
    ]
    return "; ".join(told)


def _settings(way: Way) -> str:
    return way.model_dump_json(exclude={"source", "revision", "command"}, exclude_defaults=True)


def _models(options: BackTranslationOptions) -> Mapping[str, ModelRef]:
    ways = {name: _way(options, name) for name in _WAYS}
    return {name: ModelRef(source=way.source, revision=way.revision) for name, way in ways.items() if way.source}


BACK_TRANSLATION = Augmentation(
    name="back_translation",
    summary="the prompt in other words, by way of another language",
    paper="Yu et al. 2018, arXiv:1804.09541",
    options=BackTranslationOptions,
    words=_change,
    fingerprint=_fingerprint,
    models=_models,
    places=_WAYS,
)
