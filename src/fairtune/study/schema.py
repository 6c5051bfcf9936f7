"""The JSON schema of a study file, for editors."""

from __future__ import annotations

from typing import Any

from fairtune.study.grid import MODELS
from fairtune.study.spec import Study, Training
from fairtune.study.tune import TUNE, Range
from fairtune.study.tuned_options import REFUSED
from fairtune.study.vocabulary import AugmentWords, MethodWords, Vocabulary


def study_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """JSON Schema (2020-12) of a study, with the methods, metrics and tasks of this installation."""
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "fairtune study"
    definitions = schema.setdefault("$defs", {})
    properties = schema["properties"]
    properties["methods"] = _one_or_many(_method_items(vocabulary, definitions))
    properties["augment"] = _one_or_many(_augment_items(vocabulary, definitions))
    definitions["Tune"]["properties"] |= _searched_anywhere(vocabulary, definitions)
    definitions["Tune"]["additionalProperties"] = False
    for key in ("models", "precision", "seeds"):
        properties[key] = _one_or_many(_loosened(key, properties[key]["items"]))
    metric = {"anyOf": [{"enum": sorted(vocabulary.metrics)}, {"$ref": "#/$defs/BenchmarkRef"}]}
    properties["evaluate"] = _one_or_many(metric)
    properties["task"] = {"anyOf": [{"type": "string", "examples": sorted(vocabulary.tasks)}, {"$ref": "#/$defs/Task"}]}
    budget = definitions["Budget"]["properties"]
    for key, example in (("memory", "20GiB"), ("time", "1h")):
        budget[key] = {"type": ["string", "number"], "examples": [example]}
    code = definitions["Code"]["properties"]
    for key, example in (("time", "10s"), ("memory", "512MiB"), ("file_size", "16MiB")):
        code[key] = {"type": ["string", "number"], "examples": [example]}
    definitions["Checkpoint"]["properties"]["every"] = {"type": ["string", "number"], "examples": ["10min"]}
    properties["checkpoint"]["anyOf"].append({"const": "none"})
    judge = definitions["Judge"]["properties"]
    judge["model"] = _named(judge["model"])
    return schema


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def _loosened(key: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, item]} if key == "models" else item


def _method_items(vocabulary: Vocabulary, definitions: dict[str, Any]) -> dict[str, Any]:
    bodies = {}
    for name, words in vocabulary.methods.items():
        plain = _fields(words, definitions)
        fields = {**_axes(plain), MODELS: _one_or_many({"type": "string"})}
        if words.trains:
            fields[TUNE] = {"type": "object", "additionalProperties": words.open, "properties": _searched(plain)}
        bodies[name] = _body(words, fields, words.open)
    return _entries(bodies)


def _fields(words: MethodWords, definitions: dict[str, Any]) -> dict[str, Any]:
    """What a method may be given: its own options, and of the recipe what they do not hide."""
    recipe = dict(Training.model_json_schema()["properties"]) if words.trains else {}
    return {**recipe, **_own(words, definitions)}


def _searched_anywhere(vocabulary: Vocabulary, definitions: dict[str, Any]) -> dict[str, Any]:
    """What some method may search, in every way in which one does."""
    definitions["Range"] = Range.model_json_schema()
    found: dict[str, list[Any]] = {}
    for words in vocabulary.methods.values():
        for name, field in _searched(_fields(words, definitions)).items() if words.trains else ():
            ways = found.setdefault(name, [])
            ways += [way for way in field["anyOf"] if way not in ways]
    return {name: {"anyOf": ways} for name, ways in found.items()}


def _searched(fields: dict[str, Any]) -> dict[str, Any]:
    """A list of choices, or a range."""
    return {
        name: {"anyOf": [{"type": "array", "items": field, "minItems": 1}, {"$ref": "#/$defs/Range"}]}
        for name, field in fields.items()
        if name not in REFUSED
    }


def _augment_items(vocabulary: Vocabulary, definitions: dict[str, Any]) -> dict[str, Any]:
    kinds = vocabulary.augmentations.items()
    return _entries({name: _body(words, _axes(_own(words, definitions))) for name, words in kinds})


def _entries(bodies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A name alone, where nothing is required, or a name with its options."""
    alone = sorted(name for name, body in bodies.items() if "required" not in body)
    branches: list[dict[str, Any]] = [{"enum": alone}]
    branches += [
        {"type": "object", "additionalProperties": False, "required": [name], "properties": {name: bodies[name]}}
        for name in sorted(bodies)
    ]
    return {"anyOf": branches}


def _body(words: MethodWords | AugmentWords, fields: dict[str, Any], any_key: bool = False) -> dict[str, Any]:
    required = [name for name, field in words.options.model_fields.items() if field.is_required()]
    body = {"type": ["object", "null"], "additionalProperties": any_key, "properties": fields}
    return {**body, "type": "object", "required": required} if required else body


def _own(words: MethodWords | AugmentWords, definitions: dict[str, Any]) -> dict[str, Any]:
    own = words.options.model_json_schema()
    definitions.update(own.get("$defs", {}))
    # A name may stand for a model, or for a method without options.
    return {name: _named(field) for name, field in own.get("properties", {}).items()}


def _axes(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"anyOf": [field, {"type": "array", "items": field, "minItems": 1}]} for name, field in fields.items()
    }


def _named(field: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, field]} if "$ref" in field or field.get("type") == "object" else field
