"""The one JSON document that holds every benchmark's results, by the name of the benchmark."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGES = (
    "tritonpack",
    "onnxruntime",
    "tokenizers",
    "tritonclient",
    "grpcio",
    "numpy",
    "torch",
    "transformers",
)


def versions_here() -> dict[str, str]:
    """Versions of what the benchmark itself runs with."""
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def update_document(path: Path, name: str, result: dict[str, Any]) -> None:
    """Put a benchmark's result in its place; the others' stay."""
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {name: result}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
