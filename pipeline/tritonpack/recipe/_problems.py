"""Validation errors as a person reads them: which field, what is wrong with it, and the nearest known key."""

from __future__ import annotations

from typing import Any

from tritonpack import compressions, inputs, sources, tasks
from tritonpack.core.registry import Registry, did_you_mean
from tritonpack.evaluation import datasets
from tritonpack.recipe.specs import Recipe


def problem_of(item: Any) -> tuple[str, str, str]:
    """One validation error as (field, what is wrong, hint)."""
    place = _place(item["loc"])
    where = ".".join(place) or "recipe"
    match item["type"]:
        case "extra_forbidden":
            near = did_you_mean(place[-1], sorted(_known_keys(place[:-1])))
            return where, "unknown key", near
        case "union_tag_invalid":
            expected = str(item["ctx"]["expected_tags"]).replace("'", "").split(", ")
            tag = str(item["ctx"]["tag"])
            return (
                f"{where}.kind",
                f"'{tag}' doesn't exist; there are: {', '.join(expected)}",
                did_you_mean(tag, expected),
            )
        case "union_tag_not_found":
            return f"{where}.kind", "missing", ""
        case "missing":
            return where, "missing", ""
        case "value_error":
            return where, str(item["ctx"]["error"]), ""
        case _:
            return where, f"{item['msg']} (it is {item['input']!r})", ""


def _place(location: tuple[int | str, ...]) -> list[str]:
    """Where a value stands in the document: pydantic's location without the kinds it chose among."""
    kinds: dict[str, Registry[Any]] = {
        "source": sources.SOURCES,
        "task": tasks.TASKS,
        "input": inputs.INPUTS,
        "dataset": datasets.DATASETS,
        "compress": compressions.COMPRESSIONS,
    }
    place: list[str] = []
    for part in map(str, location):
        room = next((name for name in reversed(place) if not name.isdigit()), "")
        if room not in kinds or part not in kinds[room].names():
            place.append(part)
    return place


def _known_keys(place: list[str]) -> set[str]:
    """The keys that the JSON Schema allows at a place, over all alternatives."""
    schema = Recipe.model_json_schema()
    nodes = [schema]
    for part in place:
        nodes = [child for node in nodes for child in _children(schema, node, part)]
    return {key for node in nodes for option in _alternatives(schema, node) for key in option.get("properties", {})}


def _children(schema: dict[str, Any], node: dict[str, Any], part: str) -> list[dict[str, Any]]:
    found = []
    for option in _alternatives(schema, node):
        child = option.get("properties", {}).get(part, option.get("items", option.get("additionalProperties")))
        if not isinstance(child, dict):
            child = next(iter(option.get("patternProperties", {}).values()), None)
        if child is not None:
            found.append(child)
    return found


def _alternatives(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """The object schemas that a node may stand for."""
    if "$ref" in node:
        return _alternatives(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    options = [*node.get("oneOf", []), *node.get("anyOf", [])]
    return [leaf for option in options for leaf in _alternatives(schema, option)] or [node]
