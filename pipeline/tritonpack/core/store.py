"""The content-addressed store: ``actions/<key>.json`` names a digest, ``blobs/<sha256>`` holds the bytes.

Entries are written to a temporary file and renamed, so a reader never sees half of one. An entry
that doesn't read, or whose blob isn't what it was, is removed with a warning and counts as a miss.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tritonpack.core.action import Facts

_log = logging.getLogger(__name__)
_DIGEST = re.compile("[0-9a-f]{64}")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True)
class Record:
    """What the store knows of one action's artifact.

    Args:
        digest: SHA-256 of the blob.
        size: bytes of the blob.
        mtime_ns: the blob's modification time when it was committed; another one means that the
            blob has to be read again before it is believed.
        facts: what the action said about it.
        seconds: how long the action ran.
    """

    digest: str
    size: int
    mtime_ns: int
    facts: Facts
    seconds: float


class Store:
    """A folder of action records and blobs, safe for several builds at once.

    Args:
        root: the folder; made when it is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._actions = root / "actions"
        self._blobs = root / "blobs"
        self._tmp = root / "tmp"
        self._locks = root / "locks"

    def blob(self, digest: str) -> Path:
        """Where the bytes of a digest lie."""
        return self._blobs / digest

    def find(self, key: str) -> Record | None:
        """The record of a key whose blob is there and untouched, or None."""
        path = self._actions / f"{key}.json"
        try:
            with _accessing(self.root):
                record = _record_from(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            _log.warning("store: the record of action %s doesn't read; it is removed", key[:12])
            self.discard(key)
            return None
        return record if self._is_intact(record, key) else None

    def read(self, key: str) -> tuple[Record, Path] | None:
        """The record and the blob of a key, the blob's digest checked, or None."""
        record = self.find(key)
        if record is None:
            return None
        path = self.blob(record.digest)
        if digest_of_file(path) != record.digest:
            self._drop(record, key)
            return None
        return record, path

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the key, so that of two builds one runs the action and the other finds it done."""
        lock = FileLock(self._locks / f"{key}.lock")
        with _accessing(self.root):
            self._locks.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for one action's output; gone afterwards, whatever happens.

        Raises:
            StoreError: the disk is full or can't be written.
        """
        with _accessing(self.root):
            self._tmp.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            with tempfile.TemporaryDirectory(prefix=_owner(), dir=self._tmp) as folder:
                yield Path(folder)

    def commit(self, key: str, artifact: Path, facts: Facts, seconds: float) -> Record:
        """Move a finished file into the store and record it under the key.

        Raises:
            StoreError: the disk is full or can't be written.
        """
        digest = digest_of_file(artifact)
        blob = self.blob(digest)
        with _accessing(self.root):
            for folder in (self._actions, self._blobs):
                folder.mkdir(parents=True, exist_ok=True)
            artifact.chmod(0o444)
            if not self._holds(blob, digest):
                artifact.replace(blob)
            stat = blob.stat()
            record = Record(digest, stat.st_size, stat.st_mtime_ns, facts, round(seconds, 3))
            _write_text(self._actions / f"{key}.json", json.dumps(asdict(record), indent=1), self._tmp)
        return record

    def discard(self, key: str) -> None:
        """Forget a key; its blob stays, since another record may name it."""
        (self._actions / f"{key}.json").unlink(missing_ok=True)

    def discard_artifact(self, key: str) -> None:
        """Forget a key and remove the blob that it names; a record that shares it becomes a miss."""
        record = self.find(key)
        self.discard(key)
        if record is not None:
            self.blob(record.digest).unlink(missing_ok=True)

    def _is_intact(self, record: Record, key: str) -> bool:
        path = self.blob(record.digest)
        try:
            stat = path.stat()
        except FileNotFoundError:
            self.discard(key)
            return False
        if stat.st_size == record.size and stat.st_mtime_ns == record.mtime_ns:
            return True
        if stat.st_size == record.size and digest_of_file(path) == record.digest:
            return True
        self._drop(record, key)
        return False

    def _drop(self, record: Record, key: str) -> None:
        _log.warning("store: blob %s isn't what it was; it is removed and made again", record.digest[:12])
        self.blob(record.digest).unlink(missing_ok=True)
        self.discard(key)

    @staticmethod
    def _holds(blob: Path, digest: str) -> bool:
        return blob.exists() and digest_of_file(blob) == digest

    def _remove_leftovers(self) -> None:
        """Remove the scratch folders of builds that were killed; of another machine's we know nothing."""
        for folder in self._tmp.iterdir():
            pid, _, host = folder.name.rpartition("-")[0].partition("@")
            if host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                # Another build may be removing it too.
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):
                    folder.unlink()


def _owner() -> str:
    """Begins the names of this process's scratch files; containers that share a store have hosts of their own."""
    return f"{os.getpid()}@{socket.gethostname()}-"


@contextmanager
def _accessing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StoreError(
                f"no space left while writing to the store {root}: {error.strerror}",
                hint="Free some space, or give another folder with --store. What was stored before is intact.",
                store=str(root),
            ) from error
        if error.errno in _NO_ACCESS and str(root) in str(error.filename):
            raise StoreError(
                f"the store {root} can't be used: {error.strerror}",
                hint="Give a folder that you may write with --store.",
                store=str(root),
            ) from error
        raise


def _record_from(text: str) -> Record:
    """Read a record; anything but what `Store.commit` writes is a ValueError or a TypeError."""
    record = Record(**json.loads(text))
    if not (isinstance(record.digest, str) and isinstance(record.facts, dict) and _DIGEST.fullmatch(record.digest)):
        raise ValueError(text)
    return record


def _write_text(path: Path, text: str, scratch: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=_owner(), dir=scratch)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
