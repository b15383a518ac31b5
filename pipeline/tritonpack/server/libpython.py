"""Find the shared libpython of this interpreter: Triton's Python stub is linked against it."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from tritonpack.core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_libpython() -> Path:
    """Find ``libpython3.X.so.1.0`` of the running Python version.

    Raises:
        UnsupportedError: this Python was built without a shared library and the system has none either.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    for folder in _folders(name):
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise UnsupportedError(
        f"the embedded server needs {name}, and this machine has none",
        hint=f"install it (Debian and Ubuntu: `apt-get install {name.removesuffix('.so.1.0')}`), use a "
        "Python built with --enable-shared, or serve with docker-compose",
        library=name,
    )


def _folders(name: str) -> Iterator[Path]:
    """The interpreter's own folders first: its standard library belongs to that libpython."""
    if configured := sysconfig.get_config_var("LIBDIR"):
        yield Path(configured)
    yield Path(sys.base_prefix) / "lib"
    yield from (Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder)
    yield from _linker_folders(name)


def _linker_folders(name: str) -> Iterator[Path]:
    if not ctypes.util.find_library(name.removeprefix("lib").removesuffix(".so.1.0")):
        return
    for ldconfig in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if Path(ldconfig).is_file():
            listing = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
            found = [line.rsplit("=>", 1)[1].strip() for line in listing.splitlines() if name in line and "=>" in line]
            yield from (Path(path).parent for path in found)
            return
