"""Each peer's environment: made once, kept below ``build/bench``, made again when what it holds changes."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Peer

_UV = "uv==0.13.9"
_TIMEOUT_S = 600
_ERROR_LINES = 12
_NAMES = {"find-links": "UV_FIND_LINKS", "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}


class InstallError(Exception):
    """A peer can't be installed; the message is the installer's last lines."""


@dataclass(frozen=True)
class Environment:
    """Where a peer's packages lie.

    Attributes:
        python: its interpreter.
        versions: package -> version, of everything in it.
    """

    python: Path
    versions: dict[str, str]


class Environments:
    """Makes environments with uv, whose cache they share by hard links.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._variables = os.environ | variables_from_pip(_pip_settings()) | {"UV_NO_PROGRESS": "1"}

    def ensure(self, peer: Peer, *, relock: bool = False) -> Environment:
        """Install what a peer needs, unless it is there.

        Args:
            peer: whose packages.
            relock: without the lock, which is written anew.

        Raises:
            InstallError: a package can't be had, or doesn't fit.
        """
        place = self._folder / peer.environment
        python, mark = place / "bin" / "python", place / "installed.json"
        key = _key_of(peer)
        if not relock and mark.is_file() and (held := json.loads(mark.read_text(encoding="utf-8")))["key"] == key:
            return Environment(python, held["versions"])
        shutil.rmtree(place, ignore_errors=True)
        self._run("venv", "--quiet", "--python", sys.executable, str(place))
        locked = [] if relock or not peer.lock.is_file() else ["--constraints", str(peer.lock)]
        self._run(
            "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *locked, *peer.requirements
        )
        frozen = self._run("pip", "freeze", "--python", str(python)).splitlines()
        versions = dict(line.split("==", 1) for line in frozen if "==" in line)
        if relock:
            # A build's own suffix, such as +cpu, isn't known everywhere.
            lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in sorted(versions.items())]
            peer.lock.write_text("".join(lines), encoding="utf-8")
        mark.write_text(json.dumps({"key": _key_of(peer), "versions": versions}), encoding="utf-8")
        return Environment(python, versions)

    def _run(self, *arguments: str) -> str:
        command = [str(self._uv()), *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=self._variables, check=False
            )
        except subprocess.TimeoutExpired:
            raise InstallError(f"the installation took longer than {_TIMEOUT_S} s") from None
        if done.returncode:
            raise InstallError("\n".join(done.stderr.strip().splitlines()[-_ERROR_LINES:]))
        return done.stdout

    def _uv(self) -> Path:
        place = self._folder / "uv"
        program = place / "bin" / "uv"
        if not program.is_file():
            for command in (
                [sys.executable, "-m", "venv", str(place)],
                [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", _UV],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
                if done.returncode:
                    raise InstallError("uv: " + "\n".join(done.stderr.strip().splitlines()[-_ERROR_LINES:]))
        return program


def variables_from_pip(listed: str) -> dict[str, str]:
    """Translate what ``pip config list`` says about where packages come from, so that uv asks the same places.

    Args:
        listed: lines such as ``global.find-links='/wheels'`` and ``:env:.index-url='...'``; later ones win.

    Returns:
        Variables that uv reads.
    """
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        variable = _NAMES.get(name.rpartition(".")[2])
        if equals and variable:
            found[variable] = " ".join(str(ast.literal_eval(value)).split())
    # As pip does: the best version of all places, not the first place that has any.
    return found | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def _pip_settings() -> str:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False).stdout


def _key_of(peer: Peer) -> str:
    lock = peer.lock.read_text(encoding="utf-8") if peer.lock.is_file() else ""
    return hashlib.sha256("\n".join([_UV, sys.version, *peer.requirements, lock]).encode()).hexdigest()
