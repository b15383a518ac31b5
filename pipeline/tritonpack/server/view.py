"""What the embedded server is shown of a model repository: the same models, but ensembles in one process each.

An ensemble whose steps are all tritonpack's own is served by the backend ``pipeline``, which takes a request through
the steps without leaving its process (docs/adr/0009). The repository stays as it is: the view is a folder of the
server's own, with a link for every model and, for such an ensemble, a configuration that is made of the steps':

    <model>/config.pbtxt             the ensemble's inputs, outputs and response cache, the encoder's batching
    <model>/1/steps.json             the steps, for the backend
    <model>/1/<step's model>         a link: Triton sees by it that a step has changed
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import ConfigurationError
from tritonpack.repository import python_models
from tritonpack.repository.config import InstanceKind
from tritonpack.repository.pbtxt import parse, render
from tritonpack.server.options import config_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack.repository.config import EnsembleStep, ModelConfig

BACKEND = "pipeline"
_SHELL = Path(python_models.__file__).with_name("model.py")
_ENCODERS = frozenset({"onnxruntime", "openvino"})


@dataclass(frozen=True)
class Pipeline:
    """An ensemble that one process can serve.

    Attributes:
        config: the model's configuration in its place.
        steps: what the backend is told of each step.
    """

    config: ModelConfig
    steps: tuple[dict[str, Any], ...]

    @property
    def parts(self) -> list[str]:
        """The models of its steps."""
        return [step["model"] for step in self.steps]


def find_pipelines(repository: Path, config_name: str | None) -> dict[str, Pipeline]:
    """Find the ensembles of a repository that one process can serve, by name.

    Args:
        repository: the model repository.
        config_name: the target; None for each model's own configuration.
    """
    found = {}
    for folder in sorted(repository.iterdir()):
        file = config_file(folder, config_name)
        if file is not None and "ensemble_scheduling" in file.read_text(encoding="utf-8", errors="replace"):
            pipeline = _pipeline(repository, file, config_name)
            if pipeline is not None:
                found[folder.name] = pipeline
    return found


def write_view(repository: Path, pipelines: Mapping[str, Pipeline], view: Path) -> None:
    """Write the folder that the server reads in place of the repository.

    Args:
        repository: the model repository.
        pipelines: the ensembles that one process serves.
        view: a folder; what it holds is removed.
    """
    shutil.rmtree(view, ignore_errors=True)
    view.mkdir(parents=True)
    repository = repository.resolve()
    for folder in repository.iterdir():
        if folder.is_dir() and folder.name not in pipelines:
            (view / folder.name).symlink_to(folder)
    for name, pipeline in pipelines.items():
        version = view / name / "1"
        version.mkdir(parents=True)
        (view / name / "config.pbtxt").write_text(render(pipeline.config), encoding="utf-8")
        (version / "steps.json").write_text(json.dumps({"steps": pipeline.steps}, indent=1) + "\n", encoding="utf-8")
        for part in pipeline.parts:
            (version / part).symlink_to(repository / part)


def _pipeline(repository: Path, file: Path, config_name: str | None) -> Pipeline | None:
    """Read an ensemble and its steps; None where one of them isn't ours, or can't be read, which Triton then tells."""
    try:
        ensemble = parse(file.read_text(encoding="utf-8"))
        steps = ensemble.ensemble_scheduling.step if ensemble.ensemble_scheduling else ()
        files = [config_file(repository / step.model_name, config_name) for step in steps]
        configs = [parse(one.read_text(encoding="utf-8")) for one in files if one is not None]
    except (ConfigurationError, UnicodeDecodeError):
        return None
    encoders = [config for config in configs if config.backend in _ENCODERS]
    if len(configs) < len(steps) or len(encoders) != 1 or not configs:
        return None
    if not all(_is_ours(repository, config) for config in configs):
        return None
    described = tuple(
        _description(repository, step, config, one)
        for step, config, one in zip(steps, configs, files, strict=True)
        if one
    )
    return Pipeline(_joined(ensemble, steps[0], configs[0], encoders[0]), described)


def _is_ours(repository: Path, config: ModelConfig) -> bool:
    """Whether a step can run in another one's process: an encoder on the CPU, or a stage in the shell of the build."""
    if any(group.kind is InstanceKind.GPU for group in config.instance_group):
        return False
    if config.backend in _ENCODERS:
        return True
    shells = sorted((repository / config.name).glob("[0-9]*/model.py"), key=lambda shell: int(shell.parent.name))
    return config.backend == "python" and bool(shells) and shells[-1].read_bytes() == _SHELL.read_bytes()


def _description(repository: Path, step: EnsembleStep, config: ModelConfig, file: Path) -> dict[str, Any]:
    return {
        "model": config.name,
        "file": str(file.relative_to(repository / config.name)),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "config": asdict(config),
        "inputs": step.input_map,
        "outputs": step.output_map,
    }


def _joined(ensemble: ModelConfig, step: EnsembleStep, first: ModelConfig, encoder: ModelConfig) -> ModelConfig:
    """The ensemble's face, the first step's rows, the encoder's queue and instances.

    Triton would take a refused warm-up for a model that can't be served, and an answer may be refused to a row of
    nothing; so the backend itself warms the steps up.
    """
    ragged = {step.input_map[one.name] for one in first.input if one.allow_ragged_batch}
    return replace(
        ensemble,
        platform="",
        backend=BACKEND,
        ensemble_scheduling=None,
        input=tuple(replace(one, allow_ragged_batch=one.name in ragged) for one in ensemble.input),
        instance_group=encoder.instance_group,
        dynamic_batching=encoder.dynamic_batching,
    )
