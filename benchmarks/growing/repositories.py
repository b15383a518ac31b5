"""Model repositories that grow: copies of an ensemble under names of their own, and a model of any size."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import numpy as np

from tritonpack.repository.config import (
    DataType,
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    ModelInput,
    ModelOutput,
    Parameter,
)
from tritonpack.repository.pbtxt import parse, render

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.repository.config import EnsembleStep

WIDTH = 1024
_LAYER_BYTES = 4 * WIDTH * WIDTH
MB = 10**6
_THREADS = "intra_op_thread_count"


def config_of(model: Path) -> ModelConfig:
    """Read a model's configuration.

    Raises:
        click.UsageError: there is no such model.
    """
    file = model / "config.pbtxt"
    if not file.is_file():
        raise click.UsageError(
            f"there is no model '{model.name}' in {model.parent}: build it (`tritonpack build recipes/minilm.yaml`), "
            "or name another with --repository and --model"
        )
    return parse(file.read_text(encoding="utf-8"))


def version_folder(model: Path) -> Path:
    """The version of a model that Triton serves."""
    return max((folder for folder in model.iterdir() if folder.name.isdigit()), key=lambda folder: int(folder.name))


def ensemble_of(repository: Path, model: str) -> tuple[EnsembleStep, ...]:
    """The steps of an ensemble.

    Raises:
        click.UsageError: there is no such model, or it is no ensemble that takes one ``text``.
    """
    config = config_of(repository / model)
    if config.ensemble_scheduling is None or [given.name for given in config.input] != ["text"]:
        raise click.UsageError(f"'{model}' in {repository} isn't an ensemble that takes `text`; --model names another")
    return config.ensemble_scheduling.step


def write_copies(source: Path, model: str, count: int, folder: Path) -> list[str]:
    """Write an ensemble and the models behind it ``count`` times, each under names of its own.

    The files are hard links where the file system allows it, so that 50 models take the room of one.

    Args:
        source: the repository that holds the ensemble.
        model: the ensemble's name.
        count: how many copies.
        folder: the repository to write.

    Returns:
        The ensembles' names.
    """
    steps = ensemble_of(source, model)
    names = []
    for number in range(count):
        renamed = {step.model_name: f"{step.model_name}_{number:02}" for step in steps}
        names.append(f"{model}_{number:02}")
        for old, new in renamed.items():
            _copy(source / old, folder / new, config_of(source / old))
        ensemble = config_of(source / model)
        scheduling = ensemble.ensemble_scheduling
        if scheduling is not None:
            own = tuple(replace(step, model_name=renamed[step.model_name]) for step in scheduling.step)
            ensemble = replace(ensemble, ensemble_scheduling=replace(scheduling, step=own))
        _copy(source / model, folder / names[-1], ensemble)
    return names


def _copy(model: Path, to: Path, config: ModelConfig) -> None:
    """Link the served version of a model and write its configuration under the folder's name."""
    served = version_folder(model)
    shutil.copytree(
        served, to / served.name, copy_function=_link, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    _write_config(to, replace(config, name=to.name))


def _write_config(model: Path, config: ModelConfig) -> None:
    (model / "config.pbtxt").write_text(render(config), encoding="utf-8")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def write_weights(folder: Path, size_mb: int, threads: int) -> str:
    """Write a model of about ``size_mb`` million bytes: products of 1024 x 1024, one after another.

    Args:
        folder: the repository to write.
        size_mb: of the model's file.
        threads: that its products take.

    Returns:
        The model's name. It takes ``x: (rows, 1024) float32`` and gives ``y`` of the same shape.
    """
    name = "weights"
    (folder / name / "1").mkdir(parents=True)
    _save_products(folder / name / "1" / "model.onnx", max(1, round(size_mb * MB / _LAYER_BYTES)))
    config = ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=64,
        input=(ModelInput("x", DataType.FP32, (WIDTH,)),),
        output=(ModelOutput("y", DataType.FP32, (WIDTH,)),),
        instance_group=(InstanceGroup(1, InstanceKind.CPU),),
        dynamic_batching=DynamicBatching(),
        parameters={_THREADS: Parameter(str(threads))},
    )
    _write_config(folder / name, config)
    return name


def _save_products(path: Path, layers: int) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    square = (rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / np.float32(WIDTH**0.5)).astype(np.float32)
    values = ["x", *(f"v{layer}" for layer in range(layers - 1)), "y"]
    # Each layer holds weights of its own, or a runtime could share them: rows moved by one more.
    constants = [numpy_helper.from_array(np.roll(square, layer, axis=0), f"w{layer}") for layer in range(layers)]
    nodes = [helper.make_node("MatMul", [values[i], f"w{i}"], [values[i + 1]]) for i in range(layers)]
    sides = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["rows", WIDTH]) for end in ("x", "y")]
    graph = helper.make_graph(nodes, "products", sides[:1], sides[1:], constants)
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def size_bytes(folder: Path) -> int:
    """Bytes of all files in a folder, hard links counted each time: what a copy elsewhere would take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
