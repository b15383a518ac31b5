"""One model's graph in several forms, each run in this process by the engine that serves it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.actions import Workplace, Workshop
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.engines import ENGINES
from tritonpack.stages.raggedize import ragged_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.action import Action
    from tritonpack.core.tensors import Tensors
    from tritonpack.engines import Engine, Session
    from tritonpack.recipe import Recipe

    Rows = Sequence[Sequence[int]]

SIZES = (8, 16, 32)
RANDOM = 32
_SINGLES = 60
_RANDOM_TEXTS = 256


@dataclass
class Form:
    """A file and how rows reach it.

    Attributes:
        name: in the table.
        group: forms that are compared; the first of a group is what the others are held against.
        session: the opened file.
        feeds: makes the inputs of token ids.
        size: the batch that was best for sorted rows.
        figures: by name, one value a round.
    """

    name: str
    group: str
    session: Session
    feeds: Callable[[Rows], Tensors]
    size: int = 0
    figures: dict[str, list[float]] = field(default_factory=dict)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """``(rows, width)``."""
        return next(iter(self.session.run(self.feeds(rows)).values()))

    def measure(self, rows: Rows) -> None:
        """One round: rows one by one, sorted in batches of the best size, and in batches as they come."""
        ordered = sorted(rows, key=len)
        if not self.size:
            self._seconds(ordered, RANDOM)
            self.size = min(SIZES, key=lambda size: self._seconds(ordered, size))
        singles = [self._seconds([row], 1) for row in rows[:_SINGLES]]
        figures = {
            "single_ms": 1000 * float(np.median(singles)),
            "sorted_per_s": len(ordered) / self._seconds(ordered, self.size),
            "random_per_s": _RANDOM_TEXTS / self._seconds(rows[:_RANDOM_TEXTS], RANDOM),
        }
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)

    def _seconds(self, rows: Rows, size: int) -> float:
        begin = time.perf_counter()
        for start in range(0, len(rows), size):
            self.session.run(self.feeds(rows[start : start + size]))
        return time.perf_counter() - begin


def forms_of(recipe: Recipe, store: Path, work: Path) -> list[Form]:
    """Every form of the recipe's graph; what the store holds isn't made again.

    Args:
        recipe: has the targets ``fp32`` and ``int8_dynamic`` of ONNX Runtime and ``ov_fp32``, ``ov_bf16`` and
            ``ov_int8`` of OpenVINO.
        store: the store's folder.
        work: for files that no build makes.
    """
    workshop, runner = Workshop(recipe, Workplace(store, None, None)), Runner(Store(store))
    model = workshop.model
    names, axes = [spec.name for spec in model.traced.inputs], model.axes
    onnxruntime, openvino = ENGINES.get("onnxruntime"), ENGINES.get("openvino")

    def grid(rows: Rows) -> Tensors:
        width = max(map(len, rows))
        ids = np.zeros((len(rows), width), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        given = {"input_ids": ids, "attention_mask": (np.arange(width) < _lengths(rows)[:, None]).astype(np.int64)}
        return {name: given.get(name, np.zeros_like(ids)) for name in names}

    def ragged(rows: Rows) -> Tensors:
        return ragged_inputs(grid(rows), axes, {axis.name: _lengths(rows) for axis in axes})

    def made(action: Action) -> Path:
        runner.run([action])
        return runner.artifact(action)

    def opened(engine: Engine, file: Path) -> Session:
        """The file as it is, or what the engine compiles of it."""
        out = work / f"{file.name}.{len(list(work.iterdir()))}.onnx"
        engine.compile(file, {}, out, work)
        return engine.open(out)

    work.mkdir(parents=True, exist_ok=True)
    found = []
    for target, group in (("fp32", "FP32"), ("int8_dynamic", "INT8 dynamic")):
        candidate = workshop.candidate(target, recipe.targets[target].precision)
        lowered, flat = made(candidate.lowered), made(candidate.ragged)
        found += [
            Form("as exported", group, onnxruntime.open(lowered), grid),
            Form("attention fused, no slow fusions", group, opened(onnxruntime, lowered), grid),
            Form("flat", group, onnxruntime.open(flat), ragged),
            Form("flat and fused: what is served", group, onnxruntime.open(made(candidate.compiled)), ragged),
        ]
    for target, name in (("ov_fp32", "FP32"), ("ov_bf16", "bfloat16"), ("ov_int8", "static INT8")):
        candidate = workshop.candidate(target, recipe.targets[target].precision)
        if target == "ov_fp32":
            found.append(Form("FP32, as exported", "OpenVINO", opened(openvino, made(candidate.lowered)), grid))
        found.append(Form(f"{name}, flat", "OpenVINO", openvino.open(made(candidate.compiled)), ragged))
    return found


def measured_forms(forms: Iterable[Form], rows: Rows, rounds: int) -> list[dict[str, object]]:
    """Measure all by turns.

    Returns:
        For each form its names, its figures by round, and ``cosine``, the mean to the first form's vectors.
    """
    every = list(forms)
    reference = _unit(every[0].vectors(rows[:RANDOM]))
    for _ in range(rounds):
        for form in every:
            form.measure(rows)
    return [
        {
            "name": form.name,
            "group": form.group,
            "batch": form.size,
            "cosine": float(np.mean(np.sum(_unit(form.vectors(rows[:RANDOM])) * reference, axis=1))),
            **form.figures,
        }
        for form in every
    ]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length one also where a precision leaves them a little longer."""
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _lengths(rows: Rows) -> NDArray[np.int64]:
    return np.array([len(row) for row in rows], np.int64)
