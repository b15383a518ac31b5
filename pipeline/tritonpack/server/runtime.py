"""The embedded server's files: a tritonserver taken from a wheel and a Python environment for its models.

Both are made once, below ``home()/runtime/<digest>``, where the digest covers the pinned requirements and
the Python version. A virtual environment can't be moved, so it is built where it stays, under a lock, and
a marker that is written last says that it is whole.

    <digest>/python/   virtual environment: runtime-requirements.txt
    <digest>/server/   server-wheel.txt, unpacked with --no-deps
    <digest>/lib/      a link to libpython, which the stub is linked against
    <digest>/complete.json
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tritonpack.core.errors import ServerError, UnsupportedError
from tritonpack.core.home import home
from tritonpack.server.libpython import find_libpython

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[str], None]

REQUIREMENTS = Path(__file__).with_name("runtime-requirements.txt")
SERVER_WHEEL = Path(__file__).with_name("server-wheel.txt")
_LAYOUT = "1"
_ERROR_LINES = 12


@dataclass(frozen=True)
class Runtime:
    """Where the files of the embedded server lie."""

    root: Path

    @property
    def server(self) -> Path:
        """The ``tritonserver`` folder of the wheel: ``bin``, ``backends``, ``caches``."""
        return self.root / "server" / "pytriton" / "tritonserver"

    @property
    def executable(self) -> Path:
        """The server's program."""
        return self.server / "bin" / "tritonserver"

    @property
    def caches(self) -> Path:
        """What ``--cache-directory`` takes."""
        return self.server / "caches"

    @property
    def python_backend(self) -> Path:
        """The Python backend with this interpreter's stub beside it."""
        return self.server / "backends" / "python"

    @property
    def python(self) -> Path:
        """The virtual environment that the models import from."""
        return self.root / "python"

    @property
    def site_packages(self) -> Path:
        """The environment's packages."""
        return self.python / "lib" / f"python{_python_version()}" / "site-packages"

    @property
    def library_path(self) -> str:
        """``LD_LIBRARY_PATH`` for the server and its stubs."""
        return f"{self.root / 'lib'}:{self.root / 'server' / 'nvidia_pytriton.libs'}"

    @property
    def is_complete(self) -> bool:
        """Whether the marker that is written last is there."""
        return (self.root / "complete.json").is_file()


def runtime_at_home() -> Runtime:
    """Name this version's runtime, whether it is installed or not."""
    return Runtime(home() / "runtime" / runtime_digest()[:16])


def runtime_digest() -> str:
    """Digest everything that decides what an installed runtime holds."""
    parts = [_LAYOUT, sys.version, sys.base_prefix, platform.machine()]
    parts += [line for file in (REQUIREMENTS, SERVER_WHEEL) for line in requirements_from_file(file)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def requirements_from_file(file: Path) -> list[str]:
    """Read the requirements, without comments: a better comment is no reason to install again."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def ensure_runtime(progress: Progress | None = None) -> Runtime:
    """Install the runtime unless it is there.

    Args:
        progress: called with one line of text before each slow step; not called when nothing is to do.

    Raises:
        ServerError: pip couldn't install a package, or the environment couldn't be made.
        UnsupportedError: the server has no stub for this Python, or libpython is missing.
    """
    runtime = runtime_at_home()
    if runtime.is_complete:
        return runtime
    runtime.root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{runtime.root}.lock"):
        if not runtime.is_complete:
            _install(runtime, progress or _silent)
    return runtime


def _install(runtime: Runtime, progress: Progress) -> None:
    libpython = find_libpython()
    shutil.rmtree(runtime.root, ignore_errors=True)
    runtime.root.mkdir(parents=True)
    progress("making the server's Python environment")
    _run(
        [sys.executable, "-m", "venv", str(runtime.python)],
        "the server's Python environment couldn't be made",
    )
    progress("installing " + ", ".join(requirements_from_file(REQUIREMENTS)))
    _pip(runtime, "-r", str(REQUIREMENTS))
    progress("installing tritonserver from " + ", ".join(requirements_from_file(SERVER_WHEEL)))
    _pip(runtime, "--no-deps", "--target", str(runtime.root / "server"), "-r", str(SERVER_WHEEL))
    _prepare_backend(runtime)
    (runtime.root / "lib").mkdir()
    (runtime.root / "lib" / f"libpython{_python_version()}.so.1.0").symlink_to(libpython)
    marker = {"python": sys.version, "requirements": requirements_from_file(REQUIREMENTS)}
    (runtime.root / "complete.json").write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _prepare_backend(runtime: Runtime) -> None:
    """Put the stub of this Python beside the backend's library; the wheel's files aren't executable."""
    stub = runtime.server / "python_backend_stubs" / _python_version() / "triton_python_backend_stub"
    if not stub.is_file():
        versions = sorted(folder.name for folder in stub.parents[1].glob("3.*"))
        raise UnsupportedError(
            f"the embedded server has no Python backend for Python {_python_version()}",
            hint=f"run tritonpack with one of Python {', '.join(versions)}, or serve with docker-compose",
            python=_python_version(),
        )
    shutil.copyfile(stub, runtime.python_backend / stub.name)
    for file in (runtime.executable, *runtime.python_backend.iterdir()):
        file.chmod(0o755)


def _pip(runtime: Runtime, *arguments: str) -> None:
    pip = [str(runtime.python / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", *arguments], "pip couldn't install the embedded server")


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_ERROR_LINES:]
        raise ServerError(
            f"{failure}:\n" + "\n".join(lines),
            hint="check the network and pip's configuration (`pip config list`), then try again; "
            "nothing half-made is kept",
            command=command,
        )


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _silent(line: str) -> None:
    del line
