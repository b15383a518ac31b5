"""Public outputs of every request: of a graph, with the served steps around it, or of a served model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.stages.answers import BATCH, answers_from_prepared, prepared_from_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.engines import Engine
    from tritonpack.repository.ensemble import Steps
    from tritonpack_client import Client

VERSION = 1

_COUNTS = "counts"
"""The output that says how many entries of a row are answers; what follows them fills the row up."""


def predictions_from_graph(
    graph: Path,
    *,
    engine: Engine,
    requests: Sequence[Tensors],
    steps: Steps,
    tokenizer: Path | None,
    inputs: Iterable[str],
    axes: Sequence[RaggedAxis],
    ragged: bool,
    out: Path,
    batch: int = BATCH,
) -> Facts:
    """Answer requests in this process, as the served ensemble would.

    Args:
        graph: a file that ``engine`` opens.
        engine: runs it.
        requests: what an application would send, one row each.
        steps: the ensemble's steps.
        tokenizer: the prepared ``tokenizer.json``, where a step reads one.
        inputs: names of the graph's inputs, padded.
        axes: the graph's ragged axes.
        ragged: whether the graph has the ragged head, or takes padded rows.
        out: the file to write; `read_predictions` reads it.
        batch: the most rows that the graph is given at once.

    Returns:
        ``requests``, and ``rows`` of the graph.

    Raises:
        SourceError: the first step refuses a request, which is named by its index.
        VerificationError: the last step refuses what the graph gave, e.g. NaN.
    """
    prepared = prepared_from_requests(requests, steps, tokenizer, inputs)
    write_predictions(answers_from_prepared(prepared, engine.open(graph), axes, ragged=ragged, batch=batch), out)
    return {"requests": len(requests), "rows": sum(map(len, prepared.rows()))}


def predictions_from_client(client: Client, model: str, requests: Sequence[Tensors]) -> list[Tensors]:
    """Ask a served model, at most its largest batch at a time, requests of like size together.

    Args:
        client: connected to the server.
        model: the ensemble's name.
        requests: what an application would send, one row each.

    Returns:
        The public outputs of each request, ``(1, ...)`` by name, in the requests' order. What only fills a row up
        to the longest of its batch is cut off, as if it had been asked alone.

    Raises:
        TritonClientError: a request failed.
    """
    most = max(1, client.limits(model).max_batch_size)
    answers: list[Tensors] = [{} for _ in requests]
    for places in _batches(requests, most):
        given = {name: np.concatenate([requests[place][name] for place in places]) for name in requests[places[0]]}
        outputs = client.infer(model, given)
        for row, place in enumerate(places):
            answers[place] = _alone({name: array[row : row + 1] for name, array in outputs.items()})
    return answers


def write_predictions(answers: Sequence[Tensors], out: Path) -> None:
    """Write answers as one ``.npz`` file without pickle; `read_predictions` is the inverse.

    Every output is written flat, beside the shape of each request's part; texts as UTF-8, beside their lengths.
    """
    arrays: Tensors = {}
    for name in answers[0] if answers else ():
        parts = [answer[name] for answer in answers]
        arrays[f"shapes/{name}"] = np.array([part.shape for part in parts], dtype=np.int64)
        flat = np.concatenate([part.reshape(-1) for part in parts])
        if flat.dtype.kind == "O":
            texts = [text.encode() if isinstance(text, str) else bytes(text) for text in flat]
            arrays[f"lengths/{name}"] = np.array([len(text) for text in texts], dtype=np.int64)
            flat = np.frombuffer(b"".join(texts), dtype=np.uint8)
        arrays[f"values/{name}"] = flat
    with out.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub types allow_pickle by the same keywords


def read_predictions(path: Path) -> list[Tensors]:
    """Read what `write_predictions` wrote: the public outputs of each request, ``(1, ...)`` by name."""
    answers: list[Tensors] = []
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            if not key.startswith("shapes/"):
                continue
            name = key.removeprefix("shapes/")
            shapes, values = arrays[key], arrays[f"values/{name}"]
            if f"lengths/{name}" in arrays:
                values = _texts(values.tobytes(), arrays[f"lengths/{name}"])
            answers = answers or [{} for _ in shapes]
            ends = np.cumsum(shapes.prod(axis=1))
            for answer, shape, end in zip(answers, shapes, ends, strict=True):
                answer[name] = values[end - shape.prod() : end].reshape(shape)
    return answers


def _texts(data: bytes, lengths: NDArray[Any]) -> NDArray[Any]:
    texts = np.empty(len(lengths), object)
    ends = np.cumsum(lengths)
    texts[:] = [data[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return texts


def _batches(requests: Sequence[Tensors], most: int) -> Iterator[list[int]]:
    """Places of requests whose arrays have one shape, the short ones first."""
    by_shape: dict[tuple[Any, ...], list[int]] = {}
    for place, request in enumerate(requests):
        by_shape.setdefault(tuple((name, array.shape) for name, array in request.items()), []).append(place)
    for places in by_shape.values():
        places.sort(key=lambda place: _size(requests[place]))
        yield from (places[begin : begin + most] for begin in range(0, len(places), most))


def _size(request: Tensors) -> int:
    """How much there is to compute, roughly: characters, or samples."""
    return sum(
        sum(map(len, array.reshape(-1))) if array.dtype.kind == "O" else array.size for array in request.values()
    )


def _alone(answer: Tensors) -> Tensors:
    """One row of a batch's answer without what fills it up: as wide as its own count of entries, at least 1."""
    if _COUNTS not in answer:
        return answer
    count = max(1, int(answer[_COUNTS][0, 0]))
    return {name: array if name == _COUNTS else array[:, :count] for name, array in answer.items()}
