"""A folder that changes as a whole or not at all: a new tree beside it, then one exchange of names."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tritonpack.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NOT_WRITABLE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST
}  # fmt: skip


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a copy of ``folder`` to change; when the block ends without an error it takes its place.

    Unchanged files are hard links, so a file must be unlinked before it is written; `put` does that.
    A process that reads the folder meanwhile sees the old tree or the new one, never a mixture. Only a
    folder that is a mount point can't change its name: there, each folder in it is exchanged in turn.

    Raises:
        StoreError: the disk is full or can't be written; the folder is as it was.
    """
    folder = folder.resolve()
    beside = _beside(folder)
    staging = beside / f".{folder.name}.{os.getpid()}.new"
    with locked(folder):
        _remove_leftovers(folder, beside)
        staging.mkdir()
        try:
            if folder.exists():
                shutil.copytree(
                    folder,
                    staging,
                    copy_function=_link,
                    ignore=shutil.ignore_patterns(f".{folder.name}.*"),
                    dirs_exist_ok=True,
                )
            yield staging
            if beside == folder:
                _exchange_children(staging, folder)
            else:
                _exchange(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against another writer; who holds it may hold it again.

    Raises:
        StoreError: the disk is full or can't be written, by the lock or in the block.
    """
    folder = folder.resolve()
    beside = _beside(folder)
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with FileLock(beside / f".{folder.name}.lock", is_singleton=True):
            yield
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise StoreError(
                f"{folder} can't be written: {error.strerror}; it is as it was before",
                hint="Free some space, or give another folder with --repository.",
            ) from error
        raise


def _beside(folder: Path) -> Path:
    """Where the new tree grows: on the folder's own file system."""
    return folder if _is_mount(folder) else folder.parent


def _is_mount(folder: Path) -> bool:
    """Whether a folder is a mount point; a bind mount of the same file system shows only in the kernel's list."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return folder.is_mount()
    points = (line.split()[4] for line in mounts.read_text().splitlines())
    return os.fspath(folder) in {point.replace("\\040", " ") for point in points}


def put(path: Path, content: bytes | Path) -> None:
    """Write a file in a tree under change: bytes, or a copy of another file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)
    path.chmod(0o644)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP}:
            raise
        shutil.copy2(source, target)


def _exchange(new: Path, current: Path) -> None:
    """Swap the two names in one step; where the file system can't, in two that are undone on failure."""
    if not current.exists():
        new.rename(current)
        return
    libc = ctypes.CDLL(None)
    names = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(current))
    if hasattr(libc, "renameat2") and libc.renameat2(*names, _RENAME_EXCHANGE) == 0:
        return
    aside = current.parent / f".{current.name}.{os.getpid()}.old"
    current.rename(aside)
    try:
        new.rename(current)
    except OSError:
        aside.rename(current)
        raise
    aside.rename(new)


def _exchange_children(new: Path, current: Path) -> None:
    """Swap what two folders hold, entry by entry; what the new one hasn't goes last."""
    names = {entry.name for entry in new.iterdir()}
    for name in names:
        _exchange(new / name, current / name)
    for entry in list(current.iterdir()):
        if entry.name not in names and not entry.name.startswith(f".{current.name}."):
            entry.rename(new / entry.name)


def _remove_leftovers(folder: Path, beside: Path) -> None:
    """Remove the trees of builds that were killed; we hold the lock, so nobody is writing one."""
    for leftover in beside.glob(f".{folder.name}.*.new"):
        shutil.rmtree(leftover, ignore_errors=True)
    for aside in beside.glob(f".{folder.name}.*.old"):
        with suppress(OSError):
            if folder.exists():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.rename(folder)
