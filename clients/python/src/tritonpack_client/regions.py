"""Regions of memory that a server on this machine maps too: files in /dev/shm, named after their process."""

from __future__ import annotations

import itertools
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path("/dev/shm")  # noqa: S108 (not for files that anybody may read: a region is its owner's alone)
_PREFIX = "tritonpack-client"
_PAGE_BYTES = 4096
_NUMBERS = itertools.count()

IN_USE: set[str] = set()
"""The regions of this process that somebody still uses."""


class Region:
    """One region, mapped by this process. It isn't zeroed between uses.

    Attributes:
        name: of the file, and what the server calls it.
        size: in bytes; at least what was asked for.

    Raises:
        OSError: there is no room, or no such memory on this machine.
    """

    def __init__(self, size: int) -> None:
        self.name = f"{_PREFIX}.{_process()}.{next(_NUMBERS)}"
        self.size = max(_PAGE_BYTES, 1 << (size - 1).bit_length())
        file = os.open(FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        IN_USE.add(self.name)
        try:
            # Without it, a write into a full /dev/shm would end the process.
            os.posix_fallocate(file, 0, self.size)
            self._map = mmap.mmap(file, self.size)
        except BaseException:
            self.unlink()
            IN_USE.discard(self.name)
            raise
        finally:
            os.close(file)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Copy bytes into it."""
        self._map[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        """Copy bytes out of it."""
        return self._map[offset : offset + size]

    def unlink(self) -> None:
        """Remove the file. Who mapped it keeps the memory; nobody else can, and a crash leaves nothing behind."""
        (FOLDER / self.name).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap it here."""
        self._map.close()


def left_behind(names: Iterable[str]) -> list[str]:
    """Those regions that no client uses: their process ended, or their client in this one is closed.

    A process in another namespace of process numbers can't be seen, so its regions are left alone.
    """
    return [name for name in names if _is_left_behind(name)]


def remove_files() -> None:
    """Remove the files of processes that were ended between making a region and `Region.unlink`."""
    for name in left_behind(path.name for path in FOLDER.glob(f"{_PREFIX}.*")):
        (FOLDER / name).unlink(missing_ok=True)


def _is_left_behind(name: str) -> bool:
    prefix, *parts = name.split(".")
    if prefix != _PREFIX or len(parts) != len(_process().split(".")) + 1 or name in IN_USE:
        return False
    namespace, number, started, _ = parts
    if namespace != _namespace():
        return False
    return number == str(os.getpid()) or started != _started(number)


def _process() -> str:
    """What tells this process from all others, also from a later one with the same number."""
    return f"{_namespace()}.{os.getpid()}.{_started('self')}"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _started(number: str) -> str:
    """When a process began, in the kernel's own unit; empty if there is none.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22
    """
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
