"""What a server answers over gRPC, in requests of several rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.evaluation.requests import requests_from_examples

if TYPE_CHECKING:
    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples
    from tritonpack.recipe import Recipe
    from tritonpack_client import Client

_ROWS = 16


def outputs(client: Client, recipe: Recipe, examples: Examples) -> list[Tensors]:
    """The public outputs of each row, ``(1, ...)``."""
    found: list[Any] = []
    requests = requests_from_examples(examples, list(examples.rows[0]))
    count = min(_ROWS, client.limits(recipe.name).max_batch_size)
    for start in range(0, len(requests), count):
        given = requests[start : start + count]
        answer = client.infer(recipe.name, {name: np.concatenate([row[name] for row in given]) for name in given[0]})
        found += [{name: array[row : row + 1] for name, array in answer.items()} for row in range(len(given))]
    return found
