"""The process that sends: requests that are bytes already, over gRPC, and when each was answered.

Started by `tritonpack.loadtest.generator` with a folder as its only argument; it imports nothing heavy. It answers
``ready`` when it is connected, waits for a line with the time at which the measurement begins, and leaves
``records.npy`` and ``outcome.json``. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import sys
import time
from base64 import b64decode
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import numpy as np

from tritonpack.loadtest import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from tritonpack.loadtest.wire import Done

_NS_PER_S = 1_000_000_000
_CONNECT_TIMEOUT_S = 10.0
_BURST = 16
_OPTIONS = [
    ("grpc.minimal_stack", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


class Transport(Protocol):
    """What sends a request and says when it was answered."""

    def send(self, request: bytes, done: Done) -> None:
        """Send a request; ``done`` is called later, never from within."""

    def close(self) -> None:
        """End it."""


class Library:
    """gRPC's own client, for requests of any size and servers of any kind.

    Args:
        url: ``host:port``.
        method: the full name of a unary method.
        timeout_s: deadline of each request.
    """

    def __init__(self, url: str, method: str, timeout_s: float) -> None:
        self._channel = grpc.aio.insecure_channel(url, options=_OPTIONS)
        self._call = self._channel.unary_unary(method)
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait_ready(self) -> None:
        """Wait for the connection."""
        await self._channel.channel_ready()

    def send(self, request: bytes, done: Done) -> None:
        """Send a request; ``done`` is called later, never from within."""
        task = asyncio.create_task(self._sent(request, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End it; the channel closes with the process."""

    async def _sent(self, request: bytes, done: Done) -> None:
        status, message = 0, ""
        try:
            await self._call(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            status, message = error.code().value[0], error.details() or ""
        done(status, message, time.monotonic_ns())


class Sender:
    """Sends requests in turn, and keeps when each was due, sent and answered (ns), and its gRPC status.

    Args:
        transport: the connection.
        requests: sent again and again, in this order.
    """

    def __init__(self, transport: Transport, requests: Sequence[bytes]) -> None:
        self._transport = transport
        self._requests = cycle(requests)
        self.rows: list[tuple[int, int, int, int]] = []
        self.messages: dict[int, str] = {}
        self.in_flight = 0

    def send(self, due: int | None = None, then: Callable[[], None] | None = None) -> None:
        """Send the next request.

        Args:
            due: when it should have been sent, None if now.
            then: called after its answer.
        """
        sent = time.monotonic_ns()

        def done(status: int, message: str, answered: int) -> None:
            self.in_flight -= 1
            self.rows.append((sent if due is None else due, sent, answered, status))
            if status:
                self.messages.setdefault(status, message)
            if then:
                then()

        self.in_flight += 1
        self._transport.send(next(self._requests), done)


async def closed_loop(sender: Sender, concurrency: int, end: int) -> None:
    """Keep requests in flight until a time; those in flight then are waited for."""
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def following() -> None:
        if time.monotonic_ns() < end:
            sender.send(then=following)
        elif not sender.in_flight and not finished.done():
            finished.set_result(None)

    for _ in range(concurrency):
        sender.send(then=following)
    await finished


async def open_loop(sender: Sender, due: Sequence[int]) -> None:
    """Send each request when it is due, whether or not others are answered, and wait for the last answer."""
    drained = asyncio.Event()
    drained.set()

    def answered() -> None:
        if not sender.in_flight:
            drained.set()

    for number, moment in enumerate(due):
        wait_s = (moment - time.monotonic_ns()) / _NS_PER_S
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        elif number % _BURST == 0:
            # Behind its plan it would send without an end, and read no answer.
            await asyncio.sleep(0)
        drained.clear()
        sender.send(moment, answered)
    await drained.wait()


async def _run(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_bytes())
    requests = [b64decode(request) for request in settings["requests"]]
    sender, transport = await _connected(settings, requests)
    print("ready", flush=True)  # noqa: T201  the signal to the process that started this one
    begin = int(await asyncio.to_thread(sys.stdin.readline))
    load, end = _load(settings, folder, sender, begin)
    cpu_s = await _measured(load, begin, end)
    transport.close()
    np.save(folder / "records.npy", np.array(sender.rows, dtype=np.int64).reshape(-1, 4).T)
    outcome = {"cpu_s": cpu_s, "messages": sender.messages}
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


async def _connected(settings: dict[str, Any], requests: Sequence[bytes]) -> tuple[Sender, Transport]:
    """Connect on the light way if requests and server allow it, else by gRPC's library."""
    url, method, timeout_s = settings["url"], settings["method"], settings["timeout_s"]
    if max(map(len, requests)) < wire.FITS:
        prepared = [wire.framed(request) for request in requests]
        try:
            connection = await asyncio.wait_for(wire.connect(url, method, timeout_s), _CONNECT_TIMEOUT_S)
        except ConnectionRefusedError:
            raise SystemExit(f"no gRPC server answers at {url}") from None
        except (OSError, TimeoutError):
            connection = None
        if connection:
            if await _is_readable(connection, prepared[0]):
                return Sender(connection, prepared), connection
            connection.close()
    library = Library(url, method, timeout_s)
    try:
        await asyncio.wait_for(library.wait_ready(), _CONNECT_TIMEOUT_S)
    except TimeoutError:
        raise SystemExit(f"no gRPC server answers at {url}") from None
    return Sender(library, requests), library


async def _is_readable(connection: wire.Connection, request: bytes) -> bool:
    """Send one request: whether its answer tells its status plainly."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    connection.send(request, lambda _status, message, _now: answer.set_result(message))
    return await answer != wire.UNREADABLE


def _load(settings: dict[str, Any], folder: Path, sender: Sender, begin: int) -> tuple[Coroutine[Any, Any, None], int]:
    """What is to run, and when the measurement ends."""
    end = begin + int(settings["duration_s"] * _NS_PER_S)
    if settings["concurrency"]:
        return closed_loop(sender, settings["concurrency"], end), end
    arrivals = np.load(folder / "arrivals.npy")
    return open_loop(sender, (begin + (arrivals * _NS_PER_S).astype(np.int64)).tolist()), end


async def _measured(load: Coroutine[Any, Any, None], begin: int, end: int) -> float:
    """Run the load; the processor time, in seconds, that this process took between the two times."""
    gc.freeze()
    marks: list[float] = []
    loop = asyncio.get_running_loop()
    for moment in (begin, end):
        wait_s = (moment - time.monotonic_ns()) / _NS_PER_S
        loop.call_later(wait_s, lambda: marks.append(time.process_time()))
    await load
    marks.append(time.process_time())
    return marks[min(1, len(marks) - 1)] - marks[0]


def main() -> None:
    """Send what the folder says."""
    # The selector that asyncio takes on Linux rounds waits up to whole milliseconds: arrivals would be late.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_run(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
