"""The JSON schema of a study file, for editors."""

from __future__ import annotations

from typing import Any

from fairtune.study.grid import MODELS
from fairtune.study.spec import Study, Training
from fairtune.study.vocabulary import MethodWords, Vocabulary


def study_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """JSON Schema (2020-12) of a study, with the methods, metrics and tasks of this installation."""
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "fairtune study"
    definitions = schema.setdefault("$defs", {})
    properties = schema["properties"]
    properties["methods"] = _one_or_many(_method_items(vocabulary, definitions))
    for key in ("models", "precision", "seeds"):
        properties[key] = _one_or_many(_loosened(key, properties[key]["items"]))
    metric = {"enum": sorted(vocabulary.metrics)}
    properties["evaluate"] = _one_or_many(metric)
    properties["task"] = {"anyOf": [{"type": "string", "examples": sorted(vocabulary.tasks)}, {"$ref": "#/$defs/Task"}]}
    budget = definitions["Budget"]["properties"]
    for key, example in (("memory", "20GiB"), ("time", "1h")):
        budget[key] = {"type": ["string", "number"], "examples": [example]}
    return schema


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def _loosened(key: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, item]} if key == "models" else item


def _method_items(vocabulary: Vocabulary, definitions: dict[str, Any]) -> dict[str, Any]:
    alone = sorted(name for name, words in vocabulary.methods.items() if not _required(words))
    branches: list[dict[str, Any]] = [{"enum": alone}]
    for name, words in sorted(vocabulary.methods.items()):
        body = {
            "type": ["object", "null"],
            "additionalProperties": words.open,
            "properties": {**_options(words, definitions), MODELS: _one_or_many({"type": "string"})},
        }
        if _required(words):
            body |= {"type": "object", "required": _required(words)}
        branches.append(
            {"type": "object", "additionalProperties": False, "required": [name], "properties": {name: body}}
        )
    return {"anyOf": branches}


def _required(words: MethodWords) -> list[str]:
    return [name for name, field in words.options.model_fields.items() if field.is_required()]


def _options(words: MethodWords, definitions: dict[str, Any]) -> dict[str, Any]:
    fields = dict(Training.model_json_schema()["properties"]) if words.trains else {}
    own = words.options.model_json_schema()
    definitions.update(own.get("$defs", {}))
    # A name may stand for a model, or for a method without options.
    fields.update({name: _named(field) for name, field in own.get("properties", {}).items()})
    return {
        name: {"anyOf": [field, {"type": "array", "items": field, "minItems": 1}]} for name, field in fields.items()
    }


def _named(field: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, field]} if "$ref" in field or field.get("type") == "object" else field
