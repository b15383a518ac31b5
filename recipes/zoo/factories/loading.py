"""What the factories share: where packages keep their files, and loading that leaves nothing to chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError
from tritonpack.core.resources import path_from_location

if TYPE_CHECKING:
    from numpy.typing import NDArray


def file_of(location: str) -> Path:
    """The path of ``package:NAME/PATH``.

    Raises:
        SourceError: the package isn't installed, or holds no such file.
    """
    return path_from_location(location, Path.cwd())


def facts_of(location: str) -> dict[str, Any]:
    """A package's ``config.json``."""
    facts: dict[str, Any] = json.loads(file_of(location).read_text(encoding="utf-8"))
    return facts


def loaded(model: Any, weights: dict[str, NDArray[Any]], *, tied: tuple[str, ...] = ()) -> Any:
    """The model with its weights.

    Args:
        model: built from its configuration.
        weights: by name.
        tied: names that share the storage of another weight, and so may be missing.

    Raises:
        SourceError: a weight is missing, or has no place.
    """
    import torch

    state = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if wrong := sorted({*missing, *unexpected} - set(tied)):
        raise SourceError(f"the weights don't fit {type(model).__name__}: {', '.join(wrong[:5])}")
    return model.float().eval()
