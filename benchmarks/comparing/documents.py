"""The one JSON document that holds every benchmark's results, by the name of the benchmark."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def update_document(path: Path, name: str, result: dict[str, Any]) -> None:
    """Put a benchmark's result in its place; the others' stay."""
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {name: result}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
