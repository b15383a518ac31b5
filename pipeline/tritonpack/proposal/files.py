"""What the files of a model's directory say, without its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN = 5
_SERVED_POOLING = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}


@dataclass(frozen=True)
class CrossEncoder:
    """What says that the model reads two texts at once, and what becomes of its score (None: not said)."""

    origin: str
    activation: str | None


@dataclass(frozen=True)
class ModelFiles:
    """The small files.

    Args:
        directory: where they lie.
        config: ``config.json``.
        tokenizer: ``tokenizer_config.json``.
        modules: class names of ``modules.json`` with their folders; None without that file.
        pooling: ``1_Pooling/config.json``.
        pooling_origin: its name.
        sentence: ``sentence_bert_config.json``.
        sentence_origin: its name.
        library: ``config_sentence_transformers.json``.
    """

    directory: Path
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    modules: tuple[tuple[str, str], ...] | None
    pooling: dict[str, Any]
    pooling_origin: str
    sentence: dict[str, Any]
    sentence_origin: str
    library: dict[str, Any]

    @property
    def architectures(self) -> tuple[str, ...]:
        """The classes that the weights were saved from."""
        named = self.config.get("architectures")
        return tuple(str(name) for name in named) if isinstance(named, list) else ()

    @property
    def module_names(self) -> tuple[str, ...]:
        """The steps of `sentence-transformers` by class, e.g. ``Transformer, Pooling, Normalize``."""
        return tuple(kind.rpartition(".")[2] for kind, _ in self.modules or ())

    @property
    def poolings(self) -> list[str]:
        """The pooling modes that are on, a recipe's name where it has one for the mode."""
        named = self.pooling.get("pooling_mode")
        if isinstance(named, str):
            return [_SERVED_POOLING.get(named, _SERVED_POOLING.get(f"{named}_tokens", named.removesuffix("_token")))]
        modes = [key.removeprefix("pooling_mode_") for key, on in self.pooling.items() if on is True]
        return [_SERVED_POOLING.get(mode, mode) for mode in modes if f"pooling_mode_{mode}" in self.pooling]

    @property
    def cross_encoder(self) -> CrossEncoder | None:
        """Whether `sentence-transformers` saved a cross-encoder here."""
        saved = self.config.get("sentence_transformers")
        if isinstance(saved, dict) and "activation_fn" in saved:
            return CrossEncoder("config.json: sentence_transformers", _activation(saved["activation_fn"]))
        if "sbert_ce_default_activation_function" in self.config:
            function = self.config["sbert_ce_default_activation_function"]
            return CrossEncoder("config.json: sbert_ce_default_activation_function", _activation(function))
        if self.library.get("model_type") == "CrossEncoder":
            return CrossEncoder("config_sentence_transformers.json", _activation(self.library.get("activation_fn")))
        if any("cross_encoder" in kind for kind, _ in self.modules or ()):
            return CrossEncoder("modules.json", None)
        return None


def read_files(directory: Path) -> ModelFiles:
    """Read them.

    Raises:
        SourceError: there is no ``config.json``, a file doesn't read, or the model isn't one of `transformers`.
    """
    modules = _modules(directory)
    if not (directory / "config.json").is_file():
        raise _without_config(directory, modules)
    config = _object(directory, "config.json")
    if not isinstance(config.get("model_type"), str) and not config.get("architectures"):
        keys = ", ".join([*list(config)[:_SHOWN], *(["..."] if len(config) > _SHOWN else [])])
        raise SourceError(
            f"{directory / 'config.json'} is no transformers model's: it names neither model_type nor architectures, "
            f"but: {keys or 'nothing'}",
            hint="A plain PyTorch module needs a recipe with source: {kind: python_module, factory: module:function}.",
            field="source.model",
        )
    pooling = next((folder for kind, folder in modules or () if kind.endswith(".Pooling")), "1_Pooling")
    sentence = next(iter(sorted(path.name for path in directory.glob("sentence_*_config.json"))), "")
    return ModelFiles(
        directory=directory,
        config=config,
        tokenizer=_object(directory, "tokenizer_config.json"),
        modules=modules,
        pooling=_object(directory, f"{pooling}/config.json"),
        pooling_origin=f"{pooling}/config.json",
        sentence=_object(directory, sentence) if sentence else {},
        sentence_origin=sentence,
        library=_object(directory, "config_sentence_transformers.json"),
    )


def _without_config(directory: Path, modules: tuple[tuple[str, str], ...] | None) -> SourceError:
    inner = next(
        (folder for _, folder in modules or () if folder and (directory / folder / "config.json").is_file()), ""
    )
    if (directory / "adapter_config.json").is_file():
        hint = "It holds an adapter: merge it into its base model with peft's merge_and_unload(), and save that."
    elif inner:
        hint = f"modules.json says that the model lies in {inner}: give that folder."
    else:
        hint = "Is it a Hugging Face model directory? Save the model there with save_pretrained()."
    return SourceError(f"{directory} holds no config.json", hint=hint, field="source.model")


def _modules(directory: Path) -> tuple[tuple[str, str], ...] | None:
    found = _json(directory / "modules.json")
    if not isinstance(found, list):
        return None
    return tuple(
        (str(entry.get("type", "")), str(entry.get("path", "")).strip("/"))
        for entry in found
        if isinstance(entry, dict)
    )


def _object(directory: Path, name: str) -> dict[str, Any]:
    """A JSON object; empty if the file isn't there."""
    found = _json(directory / name)
    if found is not None and not isinstance(found, dict):
        raise SourceError(
            f"{directory / name} holds no JSON object", hint="Is it the right file?", field="source.model"
        )
    return found or {}


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} doesn't read: {error}", hint="Is the file whole?", field="source.model") from error


def _activation(function: Any) -> str | None:
    """The recipe's name of a PyTorch module that is named with its package."""
    name = str(function).rpartition(".")[2].removesuffix("()")
    return {"Identity": "none", "Sigmoid": "sigmoid"}.get(name)
