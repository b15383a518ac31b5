"""Built cells asked over gRPC: each row alone, several rows in a request, and many requests at once."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as triton

from conformance.answers import Measured, answer_from_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.builds import BuiltCell
    from conformance.cells import Cell
    from conformance.questions import Row

_TIMEOUT_S = 60.0
_COUNTED_WITHIN_S = 5.0
_ROUNDS = 2
_MOST_ROWS = 8


@dataclass
class ServedCell:
    """How a cell's ensemble answered.

    Attributes:
        measured: how far from what was expected.
        requests: how many were sent.
        rows_per_batch: of the encoder, while many requests came at once.
        load_s: until the ensemble was ready.
        ask_s: until all was answered.
    """

    measured: Measured = field(default_factory=Measured)
    requests: int = 0
    rows_per_batch: float = 0.0
    load_s: float = 0.0
    ask_s: float = 0.0


def serve_cell(client: triton.InferenceServerClient, cell: Cell, built: BuiltCell) -> ServedCell:
    """Load the cell's ensemble, ask it everything, unload it."""
    served = ServedCell()
    begin = time.perf_counter()
    client.load_model(cell.name)
    loaded = time.perf_counter()
    served.load_s = loaded - begin
    try:
        _Asking(client, cell, built, served).everything()
    finally:
        served.ask_s = time.perf_counter() - loaded
        client.unload_model(cell.name, unload_dependents=True)
    return served


class _Asking:
    """Sends a cell's rows in several ways and compares every answer."""

    def __init__(self, client: triton.InferenceServerClient, cell: Cell, built: BuiltCell, served: ServedCell) -> None:
        self.client, self.cell, self.built, self.served = client, cell, built, served
        config = client.get_model_config(cell.name).config
        self.outputs = [output.name for output in config.output]
        self.most = min(_MOST_ROWS, config.max_batch_size)

    def everything(self) -> None:
        alone = [[index] for index in range(len(self.built.rows))]
        for indices in (*alone, *self._several()):
            self._compare(self._send(indices), indices, "alone" if len(indices) == 1 else "together")
        before = self._batches()
        self._at_once(alone * _ROUNDS)
        rows, batches = self._batches_since(before, len(alone) * _ROUNDS)
        self.served.rows_per_batch = rows / batches if batches else 0.0
        if rows <= batches:
            self.served.measured.problems.append(f"no request was joined with another: {rows} rows, {batches} batches")

    def _several(self) -> Iterator[list[int]]:
        """Neighbouring rows in one request; sounds of one request have to be equally long."""
        step = 1 if self.cell.asks == "sounds" else self.most
        for begin in range(0, len(self.built.rows), step):
            indices = list(range(begin, min(begin + step, len(self.built.rows))))
            yield indices * 2 if step == 1 else indices

    def _inputs(self, indices: list[int]) -> list[Any]:
        rows: list[Row] = [self.built.rows[index] for index in indices]
        inputs = []
        for name in rows[0]:
            values = [row[name] for row in rows]
            if isinstance(values[0], str):
                array, kind = np.array([[text.encode()] for text in values], dtype=object), "BYTES"
            else:
                array, kind = np.stack(values), "FP32"
            inputs.append(triton.InferInput(name, list(array.shape), kind))
            inputs[-1].set_data_from_numpy(array)
        return inputs

    def _send(self, indices: list[int]) -> Any:
        self.served.requests += 1
        return self.client.infer(self.cell.name, self._inputs(indices), client_timeout=_TIMEOUT_S)

    def _at_once(self, requests: list[list[int]]) -> None:
        answers: queue.SimpleQueue[tuple[list[int], Any, Any]] = queue.SimpleQueue()
        for indices in requests:
            self.served.requests += 1
            self.client.async_infer(
                self.cell.name,
                self._inputs(indices),
                callback=lambda result, error, indices=indices: answers.put((indices, result, error)),
                client_timeout=_TIMEOUT_S,
            )
        for _ in requests:
            indices, result, error = answers.get(timeout=2 * _TIMEOUT_S)
            if error is not None:
                self.served.measured.problems.append(f"at once, row {indices[0]}: {error}")
            else:
                self._compare(result, indices, "at once")

    def _compare(self, result: Any, indices: list[int], how: str) -> None:
        outputs = {name: result.as_numpy(name) for name in self.outputs}
        for row, index in enumerate(indices):
            where = f"{how}, row {index} ({_shown(self.built.rows[index])})"
            self.served.measured.compare(
                self.built.expected[index],
                answer_from_outputs(self.cell.task["kind"], outputs, row),
                self.cell.task.get("top_k"),
                self.cell.tolerance,
                where,
            )

    def _batches_since(self, before: tuple[int, int], least: int) -> tuple[int, int]:
        """The same since then; Triton counts a batch a moment after its answers are sent."""
        deadline = time.monotonic() + _COUNTED_WITHIN_S
        while True:
            rows, batches = (after - earlier for after, earlier in zip(self._batches(), before, strict=True))
            if rows >= least or time.monotonic() > deadline:
                return rows, batches
            time.sleep(0.01)

    def _batches(self) -> tuple[int, int]:
        """Rows that the encoder has answered, and the batches that they came in."""
        statistics = self.client.get_inference_statistics(f"{self.cell.name}_encoder").model_stats
        return sum(one.inference_count for one in statistics), sum(one.execution_count for one in statistics)


def _shown(row: Row) -> str:
    text = " | ".join(value if isinstance(value, str) else f"{len(value)} samples" for value in row.values())
    return text if len(text) <= 40 else f"{text[:39]}\u2026"
