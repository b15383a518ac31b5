"""The memory of the server under test, where its processes are this machine's."""

from __future__ import annotations

from contextlib import suppress

import psutil

_MB = 1_000_000
_LOCAL = {"127.0.0.1", "localhost", "::1", "0.0.0.0"}  # noqa: S104  compared with, not bound to


class MemoryLog:
    """Samples of the resident memory of a process and its descendants.

    Args:
        process: the server, None to take no samples.
        interval_s: at least so long between two samples.
    """

    def __init__(self, process: psutil.Process | None, interval_s: float) -> None:
        self._process = process
        self._interval_s = interval_s
        self.samples: list[tuple[float, float]] = []

    def sample(self, elapsed_s: float) -> None:
        """Take a sample if it's time; an ended process gives none."""
        due = not self.samples or elapsed_s >= self.samples[-1][0] + self._interval_s
        if self._process is None or not due:
            return
        with suppress(psutil.Error):
            self.samples.append((round(elapsed_s, 2), round(resident_mb(self._process), 2)))


def resident_mb(process: psutil.Process) -> float:
    """Resident memory, in 10^6 bytes, of a process and its descendants; pages that they share count in each.

    Raises:
        psutil.Error: the process has ended.
    """
    total = float(process.memory_info().rss)
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            total += child.memory_info().rss
    return total / _MB


def server_process(url: str) -> psutil.Process | None:
    """The process that listens at ``host:port``; None if it's on another machine or another user's."""
    host, _, port = url.rpartition(":")
    if host.strip("[]") not in _LOCAL or not port.isdecimal():
        return None
    with suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (int(port),)
            if listens and connection.pid:
                return psutil.Process(connection.pid)
    return None
