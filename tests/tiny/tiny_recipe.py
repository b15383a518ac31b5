"""The smallest recipe, and others that differ from it in one value."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tritonpack.core.errors import RecipeError
from tritonpack.recipe import recipe_from_document

SMALLEST = {
    "name": "tiny",
    "source": {"kind": "huggingface", "model": "./model"},
    "task": {"kind": "embedding"},
    "targets": {"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
}


def changed(path, value, document=SMALLEST):
    """The document with one value, given by its dotted path, set."""
    result = deepcopy(document)
    node = result
    *parents, last = path.split(".")
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
    return result


def refused(document):
    """The error that a document is refused with."""
    with pytest.raises(RecipeError) as error:
        recipe_from_document(document)
    assert error.value.exit_code == 2
    return error.value
