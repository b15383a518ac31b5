"""What this machine has for each part of the work, what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tritonpack.core.errors import LoadTestError, MissingExtraError, UnsupportedError
from tritonpack.core.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable

_PROBE_TIMEOUT_S = 10.0
_BUILD_HINT = "pip install 'tritonpack[build]'"


class State(StrEnum):
    """What a probe found."""

    FOUND = "found"
    ON_DEMAND = "on demand"
    """Not there yet; the first command that needs it installs it."""
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One row.

    Attributes:
        part: what was looked for.
        detail: version or place if it was found, the reason if not.
        how: how to get it; empty if it was found.
        needed: whether the default path (build for the CPU, serve, bench) needs it.
    """

    part: str
    state: State
    detail: str
    how: str = ""
    needed: bool = False

    @property
    def stops_default_path(self) -> bool:
        """Whether the default path can't be walked on this machine."""
        return self.needed and self.state is State.MISSING


def examine() -> list[Finding]:
    """Look for every part, always in the same order; nothing heavy is imported and nothing is installed."""
    return [
        _python(),
        _glibc(),
        _package("build (torch)", "torch", needed=True),
        _package("accuracy (scikit-learn)", "scikit-learn", hint="pip install 'tritonpack[evaluation]'"),
        *_engines(),
        _libpython(),
        _embedded_server(),
        _perf_analyzer(),
        _package("search (optuna)", "optuna", hint="pip install 'tritonpack[tune]'"),
        _package("HTML report (jinja2)", "jinja2", hint="pip install 'tritonpack[loadtest]'", needed=True),
        _gpu(),
        _docker(),
    ]


def _python() -> Finding:
    return Finding("Python", State.FOUND, platform.python_version(), needed=True)


def _glibc() -> Finding:
    name, version = platform.libc_ver()
    if name == "glibc":
        return Finding("glibc", State.FOUND, version, needed=True)
    how = "the server's binaries need a glibc Linux: use a Debian or Ubuntu, or docker-compose"
    return Finding("glibc", State.MISSING, f"this system has {name or 'another C library'}", how, needed=True)


def _package(part: str, distribution: str, hint: str = _BUILD_HINT, *, needed: bool = False) -> Finding:
    try:
        return Finding(part, State.FOUND, version_of(distribution, hint=hint), needed=needed)
    except MissingExtraError as error:
        return Finding(part, State.MISSING, error.message, error.hint, needed=needed)


def _engines() -> list[Finding]:
    from tritonpack.engines import ENGINES

    return [_engine(name, ENGINES.get(name).identity) for name in ENGINES.names()]


def _engine(name: str, identity: Callable[[], str]) -> Finding:
    """Ask the engine itself: it reads the versions of distributions, since a stub package may look like it."""
    part, needed = f"engine {name}", name == "onnxruntime"
    try:
        return Finding(part, State.FOUND, identity(), needed=needed)
    except UnsupportedError as error:
        return Finding(part, State.MISSING, error.message, error.hint, needed=needed)


def _libpython() -> Finding:
    from tritonpack.server.libpython import find_libpython

    try:
        return Finding("libpython, for the embedded server", State.FOUND, str(find_libpython()), needed=True)
    except UnsupportedError as error:
        part = "libpython, for the embedded server"
        return Finding(part, State.MISSING, error.message, error.hint, needed=True)


def _embedded_server() -> Finding:
    from tritonpack.server.runtime import SERVER_WHEEL, requirements_from_file, runtime_at_home

    runtime = runtime_at_home()
    wheel = ", ".join(requirements_from_file(SERVER_WHEEL))
    if runtime.is_complete:
        return Finding("embedded server", State.FOUND, f"{wheel} in {runtime.root}", needed=True)
    how = "`tritonpack serve` installs it at its first call"
    return Finding("embedded server", State.ON_DEMAND, f"{wheel} is not installed yet", how, needed=True)


def _perf_analyzer() -> Finding:
    from tritonpack.loadtest.install import find_perf_analyzer, glibc_version, package_for

    if found := find_perf_analyzer():
        return Finding("perf_analyzer", State.FOUND, f"{found.version}, {found.command[0]}", needed=True)
    try:
        package = package_for(platform.machine(), glibc_version())
    except LoadTestError as error:
        return Finding("perf_analyzer", State.MISSING, error.message, error.hint, needed=True)
    how = "`tritonpack bench` installs it at its first call"
    return Finding("perf_analyzer", State.ON_DEMAND, f"{package.version} is not installed yet", how, needed=True)


def _gpu() -> Finding:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if printed := _output(query):
        return Finding("NVIDIA GPU", State.FOUND, "; ".join(printed.splitlines()))
    how = "needed only to run TensorRT plans: install NVIDIA's driver on a machine with a GPU"
    if Path("/dev/nvidia0").exists():
        return Finding("NVIDIA GPU", State.MISSING, "/dev/nvidia0 is there, but nvidia-smi doesn't answer", how)
    return Finding("NVIDIA GPU", State.MISSING, "no nvidia-smi and no /dev/nvidia0", how)


def _docker() -> Finding:
    if version := _output(["docker", "version", "--format", "{{.Server.Version}}"]):
        return Finding("Docker engine", State.FOUND, version)
    how = "needed only for docker-compose: install Docker and start its engine (Debian: apt-get install docker.io)"
    if shutil.which("docker"):
        reason = "the client is installed, but no engine answers"
        if host := os.environ.get("DOCKER_HOST"):
            reason += f" at {host}"
        return Finding("Docker engine", State.MISSING, reason, how)
    return Finding("Docker engine", State.MISSING, "no docker command", how)


def _output(command: list[str]) -> str:
    """What a command prints; empty if it isn't there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PROBE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
