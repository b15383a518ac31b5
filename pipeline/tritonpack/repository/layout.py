"""The files of one recipe in a model repository: which version they go to, what the manifest says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import StoreError
from tritonpack.repository.tree import put, replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Content:
    """A file's bytes, or where to fetch them when they have to be written."""

    digest: str
    size: int
    fetch: Callable[[], bytes | Path] = field(repr=False)

    @classmethod
    def of_bytes(cls, data: bytes) -> Content:
        """Content that is at hand."""
        return cls(hashlib.sha256(data).hexdigest(), len(data), lambda: data)

    @classmethod
    def of_file(cls, path: Path) -> Content:
        """A copy of a file."""
        return cls(digest_of_file(path), path.stat().st_size, lambda: path)


def read_manifest(repository: Path) -> dict[str, Any]:
    """The repository's manifest; an empty one where there is none.

    Raises:
        StoreError: it isn't JSON, or was written by a later tritonpack.
    """
    path = repository / MANIFEST
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"format": FORMAT, "recipes": {}}
    except ValueError as error:
        raise StoreError(f"{path} isn't JSON: {error}", hint="Remove it and build again.") from error
    written = manifest.get("format") if isinstance(manifest, dict) else None
    if written != FORMAT:
        raise StoreError(f"{path} has format {written}, not {FORMAT}", hint="Update tritonpack, or build elsewhere.")
    return dict(manifest)


def version_for(repository: Path, model: str, files: dict[str, Content], manifest_files: dict[str, Any]) -> int:
    """The version folder that these files belong to.

    The latest one, if nothing in it would change; a file that was damaged since it was written is
    put right where it is. Otherwise the next one, so that what is served now stays as it is.
    """
    folder = repository / model
    versions = [int(child.name) for child in folder.glob("*") if child.name.isdigit()] if folder.is_dir() else []
    latest = max(versions, default=1)
    for name, content in files.items():
        relative = f"{model}/{latest}/{name}"
        path = repository / relative
        recorded = manifest_files.get(relative, {}).get("sha256")
        if recorded == content.digest or not path.exists():
            continue
        if recorded is not None or digest_of_file(path) != content.digest:
            return latest + 1
    return latest


def write(repository: Path, recipe: str, entry: dict[str, Any], files: dict[str, Content], stale: set[str]) -> bool:
    """Bring a recipe's files and manifest entry to the repository, whole or not at all.

    Args:
        repository: the folder; made if it isn't there.
        recipe: the recipe's name.
        entry: its manifest entry; ``files`` is added.
        files: every file by its path in the repository.
        stale: paths to remove if they are there, and the folders that become empty by that.

    Returns:
        Whether anything had to be written.

    Raises:
        StoreError: the repository can't be written; it is as it was before.
    """
    manifest = read_manifest(repository)
    listed = {path: {"size": c.size, "sha256": c.digest} for path, c in sorted(files.items())}
    manifest["recipes"][recipe] = {**entry, "files": listed}
    manifest["recipes"] = dict(sorted(manifest["recipes"].items()))
    contents = {
        **files,
        MANIFEST: Content.of_bytes((json.dumps(manifest, indent=1) + "\n").encode()),
    }
    changed = [path for path, content in contents.items() if not _holds(repository / path, content)]
    ghosts = [path for path in stale if (repository / path).exists()]
    folder = repository / recipe / "1"
    if not changed and not ghosts and folder.is_dir():
        return False
    with replacing(repository) as tree:
        for path in changed:
            put(tree / path, contents[path].fetch())
        for path in ghosts:
            _remove(tree, path)
        # Triton wants a version folder for the ensemble too, though nothing lies in it.
        (tree / recipe / "1").mkdir(parents=True, exist_ok=True)
    return True


def _remove(tree: Path, path: str) -> None:
    """Remove a file and the folders that held nothing else: Triton takes every folder for a model."""
    file = tree / path
    file.unlink(missing_ok=True)
    for folder in file.parents:
        if folder == tree or any(folder.iterdir()):
            return
        folder.rmdir()


def _holds(path: Path, content: Content) -> bool:
    return path.is_file() and path.stat().st_size == content.size and digest_of_file(path) == content.digest


def damaged_files(repository: Path, recipe: str) -> dict[str, str]:
    """Files of a recipe that aren't what the manifest says: path -> ``missing`` or ``changed``."""
    listed = read_manifest(repository)["recipes"][recipe]["files"]
    found = {}
    for path, entry in listed.items():
        if not (repository / path).is_file():
            found[path] = "missing"
        elif not _holds(repository / path, Content(entry["sha256"], entry["size"], bytes)):
            found[path] = "changed"
    return found
