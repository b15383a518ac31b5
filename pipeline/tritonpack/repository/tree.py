"""A folder that changes as a whole or not at all: a new tree beside it, then one exchange of names."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock

from tritonpack.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a copy of ``folder`` to change; when the block ends without an error it takes its place.

    Unchanged files are hard links, so a file must be unlinked before it is written; `put` does that.
    A process that reads the folder meanwhile sees the old tree or the new one, never a mixture.

    Raises:
        StoreError: the disk is full or can't be written; the folder is as it was.
    """
    folder = folder.resolve()
    staging = folder.parent / f".{folder.name}.{os.getpid()}.new"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _remove_leftovers(folder)
            if folder.exists():
                shutil.copytree(folder, staging, copy_function=_link, symlinks=True)
            else:
                staging.mkdir()
            try:
                yield staging
                _exchange(staging, folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS}:
            raise StoreError(
                f"{folder} can't be written: {error.strerror}; it is as it was before",
                hint="Free some space, or give another folder with --repository.",
            ) from error
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against another writer."""
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield


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
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        arguments = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(current), _RENAME_EXCHANGE)
        if libc.renameat2(*arguments) == 0:
            return
    aside = current.parent / f".{current.name}.{os.getpid()}.old"
    current.rename(aside)
    try:
        new.rename(current)
    except OSError:
        aside.rename(current)
        raise
    aside.rename(new)


def _remove_leftovers(folder: Path) -> None:
    """Remove the trees of builds that were killed; we hold the lock, so nobody is writing one."""
    for leftover in folder.parent.glob(f".{folder.name}.*.new"):
        shutil.rmtree(leftover, ignore_errors=True)
    for aside in folder.parent.glob(f".{folder.name}.*.old"):
        with suppress(OSError):
            if folder.exists():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.rename(folder)
