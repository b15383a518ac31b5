"""A plain ``nn.Module`` that a Python factory returns."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.digest import digest_of_file, digest_of_files, digest_of_json
from tritonpack.core.errors import SourceError
from tritonpack.core.factories import FACTORY_PATTERN, made_by, source_files
from tritonpack.core.resources import path_from_location
from tritonpack.sources import Located, SourceOptions
from tritonpack.sources._tokenizers import mask_token_id, tokenizer_files, truncation_side, vocabulary_size
from tritonpack.sources._weights import json_from_file, loading_safely, state_from_file

if TYPE_CHECKING:
    from pathlib import Path

_FIELD = "source.factory"


class PythonModuleOptions(SourceOptions):
    """A factory ``module:function`` that returns the model."""

    kind: Literal["python_module"]
    factory: str = Field(
        pattern=FACTORY_PATTERN, description="module:function; modules beside the recipe are found too."
    )
    arguments: dict[str, Any] = Field(default={}, description="Keyword arguments of the factory.")
    weights: str | None = Field(
        None, description="A state dict to load: .safetensors, or a torch file of tensors only."
    )
    tokenizer: str | None = Field(
        None, description="A directory with a tokenizer's files, or package:NAME/PATH; none for models of no text."
    )
    config: dict[str, Any] | str = Field(
        default={},
        description="Facts a task may need, e.g. vocab_size, pad_token_id, id2label; or where the JSON file lies that "
        "holds them: a path beside the recipe, or package:NAME/PATH.",
    )
    trust_remote_code: bool = Field(default=False, description="Allow weights that hold pickled code.")


class PythonModule:
    """Finds and calls factories."""

    options = PythonModuleOptions

    def locate(self, options: PythonModuleOptions, folder: Path) -> Located:
        """Find the factory's source files, the weights and the tokenizer; nothing is imported but its package."""
        root, code = source_files(options.factory, folder, field=_FIELD)
        weights = path_from_location(options.weights, folder) if options.weights else None
        if weights is not None and not weights.is_file():
            raise SourceError(f"weights {weights} aren't there", hint="Correct source.weights.", field="source.weights")
        directory = None if options.tokenizer is None else path_from_location(options.tokenizer, folder)
        config = _config(options.config, folder)
        size = None if directory is None else vocabulary_size(directory)
        if size is not None:
            config = {"vocab_size": size, **config}
        parts = {
            "code": digest_of_files(root, code),
            "weights": digest_of_file(weights) if weights else None,
            "factory": options.factory,
            "arguments": options.arguments,
            "config": config,
        }
        return Located(
            config=config,
            weights_digest=digest_of_json(parts),
            tokenizer=lambda: nullcontext(directory or folder),
            tokenizer_digest=None if directory is None else digest_of_files(directory, tokenizer_files(directory)),
            mask_token_id=None if directory is None else mask_token_id(directory),
            truncation_side="right" if directory is None else truncation_side(directory),
            trust_remote_code=options.trust_remote_code,
            versions=("torch",),
            handle=(folder, weights),
        )

    def load(
        self, located: Located, options: PythonModuleOptions, *, auto_class: str, optional_weights: tuple[str, ...]
    ) -> Any:
        """Call the factory and load the weights into what it returns."""
        del auto_class
        import torch

        folder, weights = located.handle
        model = made_by(options.factory, folder, options.arguments, field=_FIELD)
        if not isinstance(model, torch.nn.Module):
            raise SourceError(
                f"factory {options.factory} returned {type(model).__name__}, not an nn.Module",
                hint="Return the model itself.",
            )
        if weights is not None:
            state = state_from_file(weights, allow_pickle=options.trust_remote_code)
            with loading_safely(str(weights)):
                missing, unexpected = model.load_state_dict(state, strict=False)
            wrong = [name for name in missing if not name.startswith(optional_weights)] + list(unexpected)
            if wrong:
                raise SourceError(f"{weights} doesn't fit {options.factory}: {', '.join(wrong[:5])}")
        return model.float().eval()


SOURCE = PythonModule()


def _config(config: dict[str, Any] | str, folder: Path) -> dict[str, Any]:
    return json_from_file(path_from_location(config, folder)) if isinstance(config, str) else config
