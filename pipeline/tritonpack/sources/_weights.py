"""What the kinds of source share: reading JSON, loading weights without running pickled code."""

from __future__ import annotations

import json
import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def loading_safely(origin: str) -> Iterator[None]:
    """Turn a refused pickle or an unreadable file into a `SourceError` that says what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"the weights of {origin} hold pickled code, which would run while loading: {_reason(error, 'GLOBAL')}",
            hint="Save them as safetensors; or, if you trust their author, say trust_remote_code: true.",
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError) as error:
        raise SourceError(
            f"the weights of {origin} can't be loaded: {_reason(error, 'mismatch')}",
            hint="Is the file whole, and made for this model?",
        ) from error


def _reason(error: Exception, word: str) -> str:
    """The line of a long message that holds ``word``, or its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    return next((line for line in lines if word in line), lines[0])


def json_from_file(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SourceError: the file doesn't read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} doesn't read: {error}", hint="Is the file whole?") from error
    if not isinstance(value, dict):
        raise SourceError(f"{path} holds no JSON object", hint="Is it the right file?")
    return value


def state_from_file(path: Path, *, allow_pickle: bool) -> dict[str, Any]:
    """Read named tensors from a ``.safetensors`` file or with ``torch.load``.

    Args:
        path: the file.
        allow_pickle: run whatever code a pickle brings; only where the recipe trusts it.

    Raises:
        SourceError: the file isn't there, doesn't read, or is a pickle with code.
    """
    if not path.is_file():
        raise SourceError(f"weights {path} aren't there", hint="Correct source.weights.", field="source.weights")
    with loading_safely(str(path)):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        import torch

        return dict(torch.load(path, map_location="cpu", weights_only=not allow_pickle))
