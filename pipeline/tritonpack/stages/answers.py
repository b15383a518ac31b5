"""The served ensemble in this process: the very code that is served before the graph and after it.

request ── first step ── rows of the graph ── session, in batches of like length ── last step ── public outputs

A graph's row may depend on the batch it is in by a rounding; the steps around it don't. So an answer is the server's
to the last bit where the batch is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import VerificationError
from tritonpack.stages.raggedize import ragged_inputs
from tritonpack.stages.rows import graph_tensors, joined, opened_stage, rows_of, total_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.engines import Session
    from tritonpack.repository.ensemble import PythonStage, Steps

BATCH = 32


@dataclass(frozen=True)
class Prepared:
    """Requests, and what the first step made of them.

    Args:
        requests: what an application would send, one row each.
        tensors: for each request, graph inputs and details, ``(rows of the graph, ...)`` by name.
        inputs: names of the graph's inputs, padded.
        steps: the ensemble's steps.
        tokenizer: the prepared ``tokenizer.json``, where a step reads one.
    """

    requests: Sequence[Tensors]
    tensors: Sequence[Tensors]
    inputs: tuple[str, ...]
    steps: Steps
    tokenizer: Path | None

    def rows(self) -> list[list[Tensors]]:
        """For each request its rows of the graph, ``(1, ...)`` by name of the graph's input."""
        return [rows_of({name: tensors[name] for name in self.inputs}) for tensors in self.tensors]

    def lengths(self, axes: Sequence[RaggedAxis]) -> list[int]:
        """How long each request is for the graph, over all its rows and axes; 0 where all rows are alike."""
        return [sum(total_length(row, axes) for row in rows) for rows in self.rows()]


def prepared_from_requests(
    requests: Sequence[Tensors], steps: Steps, tokenizer: Path | None, inputs: Iterable[str]
) -> Prepared:
    """Run the ensemble's first step.

    Args:
        requests: what an application would send, one row each.
        steps: the ensemble's steps.
        tokenizer: the prepared ``tokenizer.json``, where a step reads one.
        inputs: names of the graph's inputs, padded.

    Raises:
        SourceError: the step refuses its parameters, or a request, which is named by its index.
    """
    read = tokenizer if steps.before.reads_tokenizer else None
    made = graph_tensors(requests, read, file=steps.before.file, parameters=steps.before.parameters)
    return Prepared(requests, made, tuple(inputs), steps, tokenizer)


def answers_from_prepared(
    prepared: Prepared, session: Session, axes: Sequence[RaggedAxis], *, ragged: bool, batch: int = BATCH
) -> list[Tensors]:
    """Run the graph and the ensemble's last step.

    Args:
        prepared: the requests.
        session: the graph.
        axes: the graph's ragged axes.
        ragged: whether the graph has the ragged head, or takes padded rows.
        batch: the most rows that the graph is given at once.

    Returns:
        The public outputs of each request, ``(1, ...)`` by name, in the requests' order.

    Raises:
        VerificationError: the last step refuses what the graph gave, e.g. NaN.
    """
    rows = prepared.rows()
    places = [(request, row) for request, parts in enumerate(rows) for row in range(len(parts))]
    places.sort(key=lambda place: total_length(rows[place[0]][place[1]], axes))
    last = _last_step(prepared)
    waiting: list[dict[int, Tensors]] = [{} for _ in rows]
    answers: list[Tensors] = [{} for _ in rows]
    for begin in range(0, len(places), batch):
        part = places[begin : begin + batch]
        padded, lengths = joined([rows[request][row] for request, row in part], axes)
        outputs = session.run(ragged_inputs(padded, axes, lengths) if ragged else padded)
        whole: dict[int, Tensors] = {}
        for at, (request, row) in enumerate(part):
            waiting[request][row] = {name: array[at : at + 1] for name, array in outputs.items()}
            if len(waiting[request]) == len(rows[request]):
                whole[request] = _together([waiting[request][row] for row in range(len(rows[request]))])
                waiting[request] = {}
        for request, answer in zip(whole, last(whole), strict=True):
            answers[request] = answer
    return answers


def _last_step(prepared: Prepared) -> Callable[[dict[int, Tensors]], list[Tensors]]:
    """What makes public outputs of the graph's outputs, which it takes by the number of their request."""
    after, renames = prepared.steps.after, prepared.steps.renames
    if after is None:
        return lambda found: [{name: all_[inner] for name, inner in renames.items()} for all_ in found.values()]
    stage = opened_stage(after.file, after.parameters, prepared.tokenizer if after.reads_tokenizer else None)
    return lambda found: _answered(stage, after, prepared, found)


def _answered(stage: Any, after: PythonStage, prepared: Prepared, found: dict[int, Tensors]) -> list[Tensors]:
    takes = [spec.name for spec in after.inputs]
    given = []
    for request, outputs in found.items():
        known = {**prepared.requests[request], **prepared.tensors[request], **outputs}
        given.append({name: known[name] for name in takes})
    answers: list[Tensors] = []
    for request, answer in zip(found, stage.run(given) if given else (), strict=True):
        if isinstance(answer, str):
            raise VerificationError(f"request {request} has no answer: {answer}", request=request)
        answers.append(answer)
    return answers


def _together(rows: Sequence[Tensors]) -> Tensors:
    """The rows of one request; those of a shorter batch are filled up with zeros, which stand at padding."""
    if len(rows) == 1:
        return rows[0]
    return {name: _stacked([row[name] for row in rows]) for name in rows[0]}


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    shape = np.max([array.shape[1:] for array in arrays], axis=0, initial=0).astype(int)
    stacked = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for place, array in enumerate(arrays):
        stacked[place][tuple(slice(size) for size in array.shape[1:])] = array[0]
    return stacked
