"""Processes that send a load: how they are started, told when to begin, and waited for."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Self

from tritonpack.core.errors import LoadTestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_NS_PER_S = 1_000_000_000
_POLL_INTERVAL_S = 0.1
_ERROR_LINES = 6


class SenderProcess:
    """One process that sends.

    Args:
        command: answers ``ready`` on its standard output when it is connected, and reads the time of the beginning.
        errors: a file for its standard error.

    Attributes:
        printed: after its end, what followed ``ready``.
    """

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        self.printed = ""
        self._errors = errors.open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream:
                stream.close()

    def say(self, line: str) -> None:
        """Write a line to its standard input.

        Raises:
            LoadTestError: it ended before.
        """
        try:
            if self.process.stdin:
                self.process.stdin.write(f"{line}\n")
                self.process.stdin.flush()
        except BrokenPipeError:
            raise self.failure() from None

    def wait_until_ready(self) -> None:
        """Wait until it is connected."""
        stream = self.process.stdout
        if stream is None or stream.readline().strip() != "ready":
            raise self.failure()

    def ended(self, within_s: float) -> bool:
        """Wait for its end, but not longer than so."""
        try:
            self.printed = self.process.communicate(timeout=within_s)[0]
        except subprocess.TimeoutExpired:
            return False
        return True

    def failure(self) -> LoadTestError:
        """What it printed last, as an error."""
        self.process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return LoadTestError(
            "the load generator failed: "
            + ("\n".join(lines[-_ERROR_LINES:]) or f"exit code {self.process.returncode}"),
            hint="start a server with `tritonpack serve --detach`, or name another with --url HOST:PORT",
        )


def wait(
    senders: Sequence[SenderProcess], begin: int, limit_s: float, progress: Callable[[float], None] | None
) -> None:
    """Wait until all have ended.

    Args:
        senders: told to begin.
        begin: of the measurement, ns of CLOCK_MONOTONIC.
        limit_s: the longest, from then on.
        progress: called several times a second with the seconds since then.

    Raises:
        LoadTestError: one failed, or takes too long.
    """
    for sender in senders:
        while not sender.ended(_POLL_INTERVAL_S):
            elapsed_s = (time.monotonic_ns() - begin) / _NS_PER_S
            if elapsed_s > limit_s:
                raise LoadTestError(
                    f"the load generator did not end within {limit_s:.0f} s", hint="the server may hang"
                )
            if progress:
                progress(max(elapsed_s, 0.0))
        if sender.process.returncode:
            raise sender.failure()
