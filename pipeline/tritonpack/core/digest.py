"""SHA-256 of files, folders and JSON values, always as 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def digest_of_file(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_files(root: Path, files: Iterable[Path]) -> str:
    """Digest of several files below ``root``: their relative names and contents, in any order."""
    return digest_of_json({file.relative_to(root).as_posix(): digest_of_file(file) for file in files})


def digest_of_json(value: Any) -> str:
    """Digest of a value's canonical JSON: sorted keys, no white space, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
