"""A server's processes: started, stopped, and what they take."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MB = 1_000_000
_STOP_TIMEOUT_S = 15.0
_LOG_LINES = 12


class Tree:
    """A process and all that it started.

    Args:
        pid: of the first.
    """

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)

    def processes(self) -> list[psutil.Process]:
        """All that live, the first one first."""
        with suppress(psutil.Error):
            return [self.root, *self.root.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """Seconds of processor time that the living ones have taken."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> float:
        """Memory in 10^6 bytes; a page that several share is counted once (PSS)."""
        total = 0
        for process in self.processes():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / _MB

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.send_signal(number)


class Program:
    """A server that isn't ours.

    Args:
        command: starts it.
        log: where its output goes.
        variables: its environment.
        folder: where it starts.
    """

    def __init__(self, command: list[str], log: Path, variables: dict[str, str], folder: Path) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | variables,
                cwd=folder,
                start_new_session=True,
            )
        self.tree = Tree(self._process.pid)

    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def last_lines(self) -> str:
        """The end of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-_LOG_LINES:])

    def stop(self) -> None:
        """Ask it to end, and end what stays."""
        processes = self.tree.processes()
        self.tree.signal(signal.SIGCONT)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT_S)
        _end(processes)
        self._process.wait()


def _end(processes: Iterable[psutil.Process]) -> None:
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline and any(_lives(process) for process in alive):
        time.sleep(0.1)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
