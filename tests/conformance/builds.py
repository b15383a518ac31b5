"""One cell through the pipeline, in a process of its own beside others."""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from conformance.models import write_model
from conformance.questions import Row, rows_for
from conformance.references import ModuleReference, Reference
from conformance.sources import write_word_tokenizer, write_word_vectors
from conformance.texts import calibration_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.answers import Answer
    from conformance.cells import Cell

TARGETS = {
    "cpu": {"engine": "onnxruntime", "precision": "fp32"},
    "rtx_fp32": {"engine": "tensorrt_rtx", "precision": "fp32"},
    "rtx_fp16": {"engine": "tensorrt_rtx", "precision": "fp16"},
    "rtx_int8": {"engine": "tensorrt_rtx", "precision": "int8"},
}
QUEUE_DELAY_US = 20_000
_SAMPLES = 16
# Weights drawn at random have no margin for INT8 or FP16, so here these gates only keep nonsense out; what was
# measured stands in the table.
_PARITY = {"rtx_fp16": {"min_cosine": 0.99, "mean_cosine": 0.99}, "rtx_int8": {"min_cosine": -1, "mean_cosine": 0.5}}


@dataclass
class BuiltCell:
    """What a worker hands back.

    Attributes:
        name: the cell's.
        rows: what is to be asked.
        expected: what each row is answered by the reference.
        export_s: how long the export took, when it ran.
        build_s: how long all actions took, when they ran.
        wall_s: how long this build took, with what the store had.
        kib: by target, the engine's size.
        cosines: by target, the least cosine of its graph's outputs to PyTorch's.
        error: why there is nothing of this.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    expected: list[Answer] = field(default_factory=list)
    export_s: float = 0.0
    build_s: float = 0.0
    wall_s: float = 0.0
    kib: dict[str, float] = field(default_factory=dict)
    cosines: dict[str, float] = field(default_factory=dict)
    error: str = ""


def build_cell(cell: Cell, work: Path, targets: tuple[str, ...] = tuple(TARGETS)) -> BuiltCell:
    """Write the model, ask the reference, build every target into the shared repository.

    An error is part of the answer: the other cells go on.
    """
    import torch

    from tritonpack.core.errors import TritonpackError

    torch.set_num_threads(1)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    begin = time.perf_counter()
    built = BuiltCell(cell.name)
    try:
        source, reference = _written(cell, work / "models")
        built.rows = rows_for(cell, reference.mask)
        built.expected = reference.answers(built.rows)
        _build(cell, source, work, targets, built)
    except TritonpackError as error:
        built.error = f"{type(error).__name__}: {error.message}"
    except Exception as error:  # noqa: BLE001  of a cell nobody expects anything; the table shows it
        built.error = f"{type(error).__name__}: {error}"
    built.wall_s = time.perf_counter() - begin
    return built


def recipe_document(cell: Cell, source: dict[str, Any], work: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    """The cell's recipe."""
    calibration = _calibration(cell, work) if "rtx_int8" in targets else None
    return {
        "name": cell.name,
        "source": source,
        "task": cell.task,
        **({} if cell.input is None else {"input": cell.input}),
        "export": {"max_length": cell.max_length},
        "targets": {name: TARGETS[name] for name in targets},
        **({} if calibration is None else {"calibration": {"file": str(calibration), "samples": _SAMPLES}}),
        "gates": {"parity": {name: bounds for name, bounds in _PARITY.items() if name in targets}, "min_speedup": None},
        "serving": {"max_batch": 64, "threads": 1, "queue_delay_us": QUEUE_DELAY_US, "warmup": False},
    }


def _written(cell: Cell, models: Path) -> tuple[dict[str, Any], Any]:
    """The recipe's source, its files written, and who knows the right answers."""
    folder = models / f"{cell.family}-{cell.model}"
    match cell.source:
        case "huggingface":
            write_model(folder, cell.family, cell.model)
            return {"kind": "huggingface", "model": str(folder)}, Reference(cell, folder)
        case "python_module":
            source = {"kind": "python_module", "factory": f"modules:{cell.model}", "config": cell.config}
            if cell.asks == "sounds":
                return source, ModuleReference(cell, folder, {})
            arguments = {"vocabulary": write_word_tokenizer(folder)}
            source |= {"tokenizer": str(folder), "arguments": arguments}
            return source, ModuleReference(cell, folder, arguments)
        case _:
            return write_word_vectors(cell, folder)


def _calibration(cell: Cell, work: Path) -> Path:
    """A calibration file for the cell's kind of input."""
    folder = work / "calibration"
    folder.mkdir(parents=True, exist_ok=True)
    if cell.asks == "sounds":
        path = folder / "sounds.npy"
        sounds = np.random.default_rng(3).normal(size=(_SAMPLES, 500)).astype(np.float32)
        with _replacing(path) as new:
            np.save(new, sounds)
        return path
    columns = 2 if cell.asks in {"pairs", "questions"} else 1
    path = folder / f"{'masked' if cell.asks == 'masked' else 'texts'}-{columns}.txt"
    with _replacing(path) as new:
        new.write_text("\n".join(calibration_lines(columns)), encoding="utf-8")
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write, moved to its place afterwards: two workers may write it at once."""
    new = path.with_name(f"{os.getpid()}-{path.name}")
    yield new
    new.replace(path)


def _build(cell: Cell, source: dict[str, Any], work: Path, targets: tuple[str, ...], built: BuiltCell) -> None:
    from tritonpack.api import build
    from tritonpack.recipe import load_recipe

    recipes = work / "recipes"
    recipes.mkdir(parents=True, exist_ok=True)
    with _replacing(recipes / "modules.py") as new:
        shutil.copy(Path(__file__).with_name("modules.py"), new)
    path = recipes / f"{cell.name}.yaml"
    path.write_text(yaml.safe_dump(recipe_document(cell, source, work, targets), sort_keys=False, allow_unicode=True))
    result = build(load_recipe(path), targets, repository=work / "repository", store=work / "store")
    # Targets share steps: the second one finds what the first one made.
    seconds = {(step.action.stage, step.record.digest): step.record.seconds for step in result.steps}
    built.export_s = sum(spent for (stage, _), spent in seconds.items() if stage == "export")
    built.build_s = sum(seconds.values())
    for target in result.targets:
        built.kib[target.name] = target.content.size / 1024
        outputs = [output for report in target.verification for output in report.get("outputs", {}).values()]
        built.cosines[target.name] = min((output["min_cosine"] for output in outputs), default=float("nan"))
