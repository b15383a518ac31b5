"""A Hugging Face model: a directory, a directory inside an installed package, or a hub name."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.digest import digest_of_files, digest_of_json
from tritonpack.core.errors import MissingExtraError, SourceError
from tritonpack.core.resources import PACKAGE_PREFIX, path_from_location
from tritonpack.sources import Located, SourceOptions
from tritonpack.sources._quiet import transformers_quietly
from tritonpack.sources._tokenizers import FILES, mask_token_id, tokenizer_files, truncation_side
from tritonpack.sources._weights import json_from_file, loading_safely, state_from_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_HUB_NAME = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_SAFE_WEIGHTS = ("*.safetensors",)
_PICKLED_WEIGHTS = ("pytorch_model*.bin",)
# How sentence-transformers uses the model: nothing of a build depends on it, `tritonpack new` reads it.
_DESCRIPTIONS = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*Pooling/*.json")
# What in config.json decides which tokenizer transformers makes of the same files.
_TOKENIZER_CLASS = ("model_type", "model_name", "tokenizer_class", "transformers_version")


class HuggingFaceOptions(SourceOptions):
    """A model that `transformers` reads."""

    kind: Literal["huggingface"]
    model: str = Field(description="A directory, package:NAME/PATH, or a hub name such as org/name.")
    revision: str | None = Field(None, description="Hub commit, tag or branch; pin it for a build you can repeat.")
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the model.")


class HuggingFace:
    """Finds and loads Hugging Face models."""

    options = HuggingFaceOptions

    def locate(self, options: HuggingFaceOptions, folder: Path) -> Located:
        """Find the directory and read ``config.json``; nothing heavy is imported."""
        directory = model_directory(options, folder)
        config_file = directory / "config.json"
        if not config_file.is_file():
            raise SourceError(f"{directory} holds no config.json", hint="Is it a Hugging Face model directory?")
        config = json_from_file(config_file)
        weights = sorted(directory.glob(_SAFE_WEIGHTS[0])) or sorted(directory.glob(_PICKLED_WEIGHTS[0]))
        if not weights:
            raise SourceError(
                f"{directory} holds no weights: neither model.safetensors nor pytorch_model.bin",
                hint="Save the model there with save_pretrained(), or correct source.model.",
            )
        if "auto_map" in config and not options.trust_remote_code:
            raise SourceError(
                f"{directory} brings its own model code ({config['auto_map']})",
                hint="If you have read that code, say trust_remote_code: true in the recipe's source.",
            )
        code = sorted(directory.glob("*.py")) if options.trust_remote_code else []
        tokenizer = {
            "files": digest_of_files(directory, [*tokenizer_files(directory), *code]),
            "class": {key: config.get(key) for key in _TOKENIZER_CLASS},
        }
        return Located(
            config=config,
            weights_digest=digest_of_files(directory, [config_file, *weights, *code]),
            tokenizer=lambda: nullcontext(directory),
            tokenizer_digest=digest_of_json(tokenizer),
            mask_token_id=mask_token_id(directory),
            truncation_side=truncation_side(directory),
            trust_remote_code=options.trust_remote_code,
            versions=("torch", "transformers"),
            handle=directory,
        )

    def load(
        self, located: Located, options: HuggingFaceOptions, *, auto_class: str, optional_weights: tuple[str, ...]
    ) -> Any:
        """Load with `transformers`; a checkpoint that leaves weights to chance is refused."""
        import torch
        import transformers

        with (
            transformers_quietly(),
            loading_safely(str(located.handle)),
            _readable(located.handle, trusted=options.trust_remote_code) as directory,
        ):
            model, report = getattr(transformers, auto_class).from_pretrained(
                directory,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the report names them, an exception wouldn't
                trust_remote_code=options.trust_remote_code,
                weights_only=True,
                local_files_only=True,
            )
        for name, found, expected in sorted(report["mismatched_keys"]):
            raise SourceError(
                f"{located.handle}: {name} is {tuple(found)} in the weights, but {tuple(expected)} by config.json",
                hint="Weights and config.json don't belong together.",
            )
        missing = sorted(name for name in report["missing_keys"] if not name.startswith(optional_weights))
        if missing:
            raise SourceError(
                f"{located.handle} has no weights for {', '.join(missing[:3])}"
                f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}",  # noqa: PLR2004
                hint=f"The checkpoint doesn't carry the head that {auto_class} needs; its architectures: "
                f"{located.config.get('architectures')}.",
            )
        return model.eval()


SOURCE = HuggingFace()


def model_directory(options: HuggingFaceOptions, folder: Path) -> Path:
    """Where the model's files lie; a hub name is downloaded if it isn't cached.

    Raises:
        SourceError: it is neither a directory nor to be had from the hub.
    """
    path = path_from_location(options.model, folder)
    if path.is_dir():
        return path
    looks_local = options.model.startswith((".", "/", "~", PACKAGE_PREFIX))
    if looks_local or not _HUB_NAME.match(options.model):
        raise SourceError(f"model directory {path} isn't there", hint="Correct source.model.", field="source.model")
    return _snapshot(options)


@contextmanager
def _readable(directory: Path, *, trusted: bool) -> Iterator[Path]:
    """The model directory; where only a trusted pickle holds the weights, a copy with safe ones.

    `transformers` opens pickled weights without their code, whatever it is told.
    """
    pickles = [] if any(directory.glob(_SAFE_WEIGHTS[0])) else sorted(directory.glob(_PICKLED_WEIGHTS[0]))
    if not (trusted and pickles):
        yield directory
        return
    import torch
    from safetensors.torch import save_file

    state = {name: value for file in pickles for name, value in state_from_file(file, allow_pickle=True).items()}
    tensors = {name: value.clone().contiguous() for name, value in state.items() if isinstance(value, torch.Tensor)}
    with TemporaryDirectory() as name:
        copy = Path(name) / directory.name
        copy.mkdir()
        for file in (*directory.glob("*.json"), *directory.glob("*.py")):
            if not file.name.endswith(".index.json"):
                shutil.copy(file, copy)
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        yield copy


def _snapshot(options: HuggingFaceOptions) -> Path:
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise MissingExtraError("huggingface_hub isn't installed", hint="pip install 'tritonpack[build]'") from error

    wanted = ["config.json", *FILES, *_SAFE_WEIGHTS, *_PICKLED_WEIGHTS, "*.py", *_DESCRIPTIONS]
    try:
        return Path(snapshot_download(options.model, revision=options.revision, allow_patterns=wanted))
    except (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise SourceError(
            f"model '{options.model}' is neither a directory here nor can it be had from the hub: "
            f"{str(error).splitlines()[0]}",
            hint="Check the name and the network, or download it elsewhere and give its directory in source.model.",
            field="source.model",
            value=options.model,
        ) from error
