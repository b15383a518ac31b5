"""Engines and a tokenizer to a model repository that Triton serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.model import RaggedAxis
from tritonpack.core.tensors import TensorSpec
from tritonpack.repository import python_models
from tritonpack.repository.ensemble import (
    Encoder,
    PythonStage,
    Serving,
    Steps,
    encoder_config,
    encoder_name,
    ensemble_config,
    stage_config,
)
from tritonpack.repository.layout import Content, damaged_files, read_manifest, version_for, write
from tritonpack.repository.pbtxt import render
from tritonpack.repository.tree import locked, put

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack.repository.config import ModelConfig

_PYTHON_MODELS = Path(python_models.__file__).parent
_STAGE_FILES = {"config.pbtxt", "model.py", "stage.py", "tokenizer.json"}


@dataclass(frozen=True)
class BuiltTarget:
    """An engine that was compiled and, where this machine can run it, verified.

    Args:
        name: the target's name.
        engine: the engine's name.
        precision: the precision's name.
        suffix: of the engine file.
        triton: the fields that name its Triton backend, or None when there is none.
        content: the engine file.
        model: digest of the exported FP32 graph that it was made from.
        inputs: the graph's padded inputs.
        outputs: the graph's outputs.
        axes: the axes along which rows differ in length.
        facts: what the engine said of the file.
        verification: the reports, in the order in which they were made.
        refused: precisions that were tried before this one, and what refused them.
        lineage: every step from the source to the file.
    """

    name: str
    engine: str
    precision: str
    suffix: str
    triton: Mapping[str, str] | None
    content: Content
    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: tuple[RaggedAxis, ...]
    facts: dict[str, Any]
    verification: list[dict[str, Any]]
    refused: list[dict[str, str]]
    lineage: list[dict[str, Any]]

    @property
    def file_name(self) -> str:
        """In a version's folder."""
        return f"{self.name}{self.suffix}"

    def to_json(self) -> dict[str, Any]:
        """As the manifest tells it."""
        return {
            "engine": self.engine,
            "precision": self.precision,
            "triton": None if self.triton is None else dict(self.triton),
            "file": self.file_name,
            "size": self.content.size,
            "sha256": self.content.digest,
            "model": self.model,
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "axes": [axis.to_json() for axis in self.axes],
            "facts": self.facts,
            "verification": self.verification,
            "refused": self.refused,
            "lineage": self.lineage,
        }


@dataclass(frozen=True)
class Package:
    """What a recipe contributes to the served models beside the engines.

    Args:
        name: the recipe's name.
        serving: how it is served.
        order: ``(target, engine, precisions that it may have)`` of the recipe's targets, the default first.
        steps: what runs before and after the encoder.
        tokenizer: the prepared ``tokenizer.json``, for the steps that read it.
    """

    name: str
    serving: Serving
    order: tuple[tuple[str, str, tuple[str, ...]], ...]
    steps: Steps
    tokenizer: Content | None

    @property
    def python_stages(self) -> dict[str, PythonStage]:
        """The Python steps by their role."""
        after = {} if self.steps.after is None else {"postprocessor": self.steps.after}
        return {"preprocessor": self.steps.before, **after}

    def files_of(self, stage: PythonStage) -> dict[str, Content]:
        """What lies in the version's folder of a Python step."""
        files = {
            "model.py": Content.of_file(_PYTHON_MODELS / "model.py"),
            "stage.py": Content.of_file(_PYTHON_MODELS / f"{stage.file}.py"),
        }
        if stage.reads_tokenizer and self.tokenizer is not None:
            files["tokenizer.json"] = self.tokenizer
        return files


@dataclass(frozen=True)
class Packaged:
    """What became of a repository.

    Args:
        changed: whether anything was written.
        served: targets that the repository now holds, the default first.
        dropped: targets that were removed: another model's, precision's or row length's, or their file is
            damaged.
    """

    changed: bool
    served: tuple[str, ...]
    dropped: tuple[str, ...]


def package(repository: Path, recipe: Package, built: list[BuiltTarget]) -> Packaged:
    """Write the models of one recipe; targets of earlier builds stay if they are still the same model.

    Raises:
        StoreError: the repository can't be written; it is as it was before.
    """
    # From reading the manifest to writing it: two builds at once must not forget each other's targets.
    with locked(repository):
        return _packaged(repository, recipe, built)


def _packaged(repository: Path, recipe: Package, built: list[BuiltTarget]) -> Packaged:
    old = read_manifest(repository)["recipes"].get(recipe.name, {})
    listed = old.get("files", {})
    stages = recipe.python_stages
    models = {"encoder": encoder_name(recipe.name), **{role: s.model(recipe.name) for role, s in stages.items()}}
    engine_files = {target.file_name: target.content for target in built}
    version = version_for(repository, models["encoder"], engine_files, listed)
    entries = {target.name: {**target.to_json(), "version": version} for target in built}
    damaged = damaged_files(repository, recipe.name) if old else {}
    whole = {
        name: entry
        for name, entry in old.get("targets", {}).items()
        if _engine_path(models["encoder"], entry) not in damaged
    }
    kept = _earlier(whole, recipe, entries, built[0])
    dropped = tuple(sorted(old.get("targets", {}).keys() - entries.keys() - kept.keys()))
    entries = {name: {**kept, **entries}[name] for name, _, _ in recipe.order if name in {**kept, **entries}}
    encoders = {name: _encoder(entry, latest=version) for name, entry in entries.items()}
    default = next(iter(encoders.values()))

    files: dict[str, Content] = {}
    for role, stage in stages.items():
        stage_files = recipe.files_of(stage)
        stage_version = version_for(repository, models[role], stage_files, listed)
        files |= {f"{models[role]}/{stage_version}/{name}": content for name, content in stage_files.items()}
    files |= {f"{models['encoder']}/{version}/{name}": content for name, content in engine_files.items()}
    files |= {
        path: _as_written(repository / path, listed[path]) for path in _kept_files(kept, models["encoder"], listed)
    }
    configs: dict[str, ModelConfig] = {
        f"{recipe.name}/config.pbtxt": ensemble_config(recipe.name, recipe.serving, default, recipe.steps),
        f"{models['encoder']}/config.pbtxt": encoder_config(recipe.name, recipe.serving, default),
        **{f"{models[role]}/config.pbtxt": config for role, config in _stage_configs(recipe).items()},
    }
    for name, encoder in encoders.items():
        config = encoder_config(recipe.name, recipe.serving, encoder)
        configs[f"{models['encoder']}/configs/{name}.pbtxt"] = config
    files |= {path: Content.of_bytes(render(config).encode()) for path, config in configs.items()}
    entry = {"models": {"ensemble": recipe.name, **models}, "targets": entries}
    stale = {f"{models['encoder']}/configs/{name}.pbtxt" for name in dropped} | _left_stages(repository, old, models)
    changed = write(repository, recipe.name, entry, files, stale)
    return Packaged(changed, tuple(entries), dropped)


def _stage_configs(recipe: Package) -> dict[str, ModelConfig]:
    """The Python steps' configurations by their role: before the encoder rows are requests', after it the graph's."""
    serving, before, after = recipe.serving, recipe.steps.before, recipe.steps.after
    most = recipe.steps.max_requests(serving)
    configs = {
        "preprocessor": stage_config(
            recipe.name, serving, before, max_batch=most, instances=serving.tokenizer_instances
        )
    }
    if after is not None:
        configs["postprocessor"] = stage_config(
            recipe.name, serving, after, max_batch=serving.max_batch, instances=serving.postprocessor_instances
        )
    return configs


def _left_stages(repository: Path, old: Mapping[str, Any], models: Mapping[str, str]) -> set[str]:
    """Files, of every version, of Python steps that an earlier build of the recipe had and this one hasn't."""
    gone = set(old.get("models", {}).values()) - set(models.values()) - {old.get("models", {}).get("ensemble")}
    found = [path for name in gone for path in (repository / name).rglob("*") if path.name in _STAGE_FILES]
    return {path.relative_to(repository).as_posix() for path in found}


def write_engine(folder: Path, recipe: str, target: BuiltTarget) -> Path:
    """Write an engine that no Triton backend loads, with a manifest of its own beside it.

    Args:
        folder: where such engines lie; the file becomes ``folder/recipe/target.suffix``.
        recipe: the recipe's name.
        target: the engine.

    Returns:
        The engine's path.
    """
    home = folder / recipe
    path = home / target.file_name
    manifest = json.dumps({"format": 1, "recipe": recipe, "target": target.name, **target.to_json()}, indent=1)
    home.mkdir(parents=True, exist_ok=True)
    with locked(home):
        for name, content in ((target.file_name, target.content.fetch()), (f"{target.name}.json", manifest.encode())):
            temporary = home / f".{name}.new"
            put(temporary, content)
            temporary.replace(home / name)
    return path


def _earlier(old: dict[str, Any], recipe: Package, new: Mapping[str, Any], built: BuiltTarget) -> dict[str, Any]:
    """Targets of earlier builds that still are what the recipe says: of the same graph, for rows as long."""
    axes = [axis.to_json() for axis in built.axes]
    allowed = {(name, engine, precision) for name, engine, precisions in recipe.order for precision in precisions}
    return {
        name: entry
        for name, entry in old.items()
        if name not in new
        and (name, entry["engine"], entry["precision"]) in allowed
        and (entry["model"], entry.get("axes")) == (built.model, axes)
    }


def _kept_files(kept: Mapping[str, Any], encoder: str, listed: Mapping[str, Any]) -> list[str]:
    return [path for path in (_engine_path(encoder, entry) for entry in kept.values()) if path in listed]


def _engine_path(encoder: str, entry: Mapping[str, Any]) -> str:
    return f"{encoder}/{entry['version']}/{entry['file']}"


def _as_written(path: Path, listed: dict[str, Any]) -> Content:
    return Content(listed["sha256"], listed["size"], lambda: path)


def _encoder(entry: dict[str, Any], *, latest: int) -> Encoder:
    return Encoder(
        triton=entry["triton"],
        file_name=entry["file"],
        # Only a target that was left behind names its version: the others' configurations stay as they are.
        pinned=None if entry["version"] == latest else entry["version"],
        inputs=tuple(TensorSpec.from_json(spec) for spec in entry["inputs"]),
        outputs=tuple(TensorSpec.from_json(spec) for spec in entry["outputs"]),
        axes=tuple(RaggedAxis.from_json(axis) for axis in entry["axes"]),
    )
