"""The process that sends over HTTP/1.1; started by `comparing.loads` with a folder as its only argument.

It does what `tritonpack.loadtest.worker` does over gRPC, with the same loops and the same records. An answer's body is
counted, not decoded, so that the sender costs little.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.loadtest.worker import Sender, closed_loop, open_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tritonpack.loadtest.wire import Done

_NS_PER_S = 1_000_000_000
_OK, _UNKNOWN, _DEADLINE, _UNAVAILABLE = 0, 2, 4, 14
_SUCCESS = 200
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One kept connection, which carries one request at a time.

    Args:
        least_bytes: what is shorter is no answer.
        timeout_s: how long an answer may take.
        free: called with this connection when it may carry another request.
    """

    def __init__(self, least_bytes: int, timeout_s: float, free: Callable[[Connection], None]) -> None:
        self._least_bytes, self._timeout_s, self._free = least_bytes, timeout_s, free
        self._transport: Any = None
        self._read = bytearray()
        self._end = 0
        self._done: Done | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport, self.open = transport, True

    def connection_lost(self, _: Exception | None) -> None:
        """It is closed; whoever waits hears of it."""
        self.open = False
        self._finish(_UNAVAILABLE, "the server closed the connection")

    def ask(self, request: bytes, done: Done) -> None:
        """Send a request."""
        self._read.clear()
        self._end, self._done = 0, done
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._expire)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Some of an answer: see whether it's whole."""
        self._read += data
        if not self._end:
            head_end = self._read.find(b"\r\n\r\n") + 4
            if head_end < len(b"\r\n\r\n"):
                return
            self._end = head_end + self._length(head_end)
        chunked = self._end < 0
        if self._read.endswith(_LAST_CHUNK) if chunked else len(self._read) >= self._end:
            self._judge()

    def close(self) -> None:
        """End it."""
        self.open = False
        if self._transport:
            self._transport.abort()

    def _length(self, head_end: int) -> int:
        """Of the body; where it comes in chunks, so little that the end of the answer is below zero."""
        head = bytes(self._read[:head_end]).lower()
        at = head.find(b"\r\ncontent-length:")
        return int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else -head_end - 1

    def _judge(self) -> None:
        status = int(self._read[9:12])
        if status == _SUCCESS and len(self._read) >= self._least_bytes:
            self._finish(_OK, "")
        else:
            self._finish(_UNKNOWN, f"status {status}, {len(self._read)} bytes")

    def _expire(self) -> None:
        self.open = False
        self._finish(_DEADLINE, f"no answer within {self._timeout_s:g} s")
        self.close()

    def _finish(self, status: int, message: str) -> None:
        if self._timer:
            self._timer.cancel()
        done, self._done = self._done, None
        if done:
            # First free, then done, which may send the next request on it.
            self._free(self)
            done(status, message, time.monotonic_ns())


class Connections:
    """A `tritonpack.loadtest.worker.Transport`: as many connections as there are requests in flight."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._where = (settings["host"], settings["port"])
        self._least_bytes, self._timeout_s = settings["least_bytes"], settings["timeout_s"]
        self._idle: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()

    def send(self, request: bytes, done: Done) -> None:
        """Send a request on an idle connection, or on a new one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                connection.ask(request, done)
                return
        task = asyncio.create_task(self._open(request, done))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        """End all that are idle."""
        for connection in self._idle:
            connection.close()

    async def _open(self, request: bytes, done: Done) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._least_bytes, self._timeout_s, self._idle.append), *self._where
            )
        except OSError as error:
            done(_UNAVAILABLE, str(error), time.monotonic_ns())
        else:
            connection.ask(request, done)


async def _run(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_bytes())
    connections = Connections(settings)
    sender = Sender(connections, [bytes.fromhex(request) for request in settings["requests"]])
    gc.freeze()
    begin = time.monotonic_ns() + int(settings["warm_up_s"] * _NS_PER_S)
    end = begin + int(settings["duration_s"] * _NS_PER_S)
    marks: list[float] = []
    for moment in (begin, end):
        wait_s = (moment - time.monotonic_ns()) / _NS_PER_S
        asyncio.get_running_loop().call_later(wait_s, lambda: marks.append(time.process_time()))
    if settings["concurrency"]:
        await closed_loop(sender, settings["concurrency"], end)
    else:
        due = begin + (np.load(folder / "arrivals.npy") * _NS_PER_S).astype(np.int64)
        await open_loop(sender, due.tolist())
    marks.append(time.process_time())
    connections.close()
    np.save(folder / "records.npy", np.array(sender.rows, dtype=np.int64).reshape(-1, 4).T)
    outcome = {"begin": begin, "cpu_s": marks[min(1, len(marks) - 1)] - marks[0], "messages": sender.messages}
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    # As in the gRPC worker: the usual selector rounds waits up to whole milliseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_run(Path(sys.argv[1])))
