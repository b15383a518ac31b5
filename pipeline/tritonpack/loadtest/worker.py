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
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_NS_PER_S = 1_000_000_000
_CONNECT_TIMEOUT_S = 10.0
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass
class Sent:
    """What became of each request: when it was due, sent and answered (ns), and its gRPC status."""

    due: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    messages: dict[int, str] = field(default_factory=dict)


class Sender:
    """Sends requests on one channel, and keeps what became of them.

    Args:
        call: the server's method.
        requests: sent again and again, in this order.
        timeout_s: the deadline of each.
    """

    def __init__(self, call: Callable[..., Any], requests: Iterator[bytes], timeout_s: float) -> None:
        self._call = call
        self._requests = requests
        self._timeout_s = timeout_s
        self.records = Sent()

    async def send(self, due: int | None = None) -> None:
        """Send the next request and wait for its answer; ``due`` is when it should have been sent."""
        sent = time.monotonic_ns()
        status = 0
        try:
            await self._call(next(self._requests), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            status = error.code().value[0]
            self.records.messages.setdefault(status, error.details() or "")
        answered = time.monotonic_ns()
        records = self.records
        records.due.append(sent if due is None else due)
        records.sent.append(sent)
        records.answered.append(answered)
        records.status.append(status)


async def closed_loop(sender: Sender, concurrency: int, end: int) -> None:
    """Keep requests in flight until a time; those in flight then are waited for."""

    async def one() -> None:
        while time.monotonic_ns() < end:
            await sender.send()

    await asyncio.gather(*(one() for _ in range(concurrency)))


async def open_loop(sender: Sender, due: list[int]) -> None:
    """Send each request when it is due, whether or not others are answered, and wait for the last answer."""
    tasks: set[asyncio.Task[None]] = set()
    for moment in due:
        wait_s = (moment - time.monotonic_ns()) / _NS_PER_S
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        task = asyncio.create_task(sender.send(moment))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def _run(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_bytes())
    requests = cycle([b64decode(request) for request in settings["requests"]])
    async with grpc.aio.insecure_channel(settings["url"], options=_OPTIONS) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), _CONNECT_TIMEOUT_S)
        except TimeoutError:
            raise SystemExit(f"no gRPC server answers at {settings['url']}") from None
        sender = Sender(channel.unary_unary(settings["method"]), requests, settings["timeout_s"])
        print("ready", flush=True)  # noqa: T201  the signal to the process that started this one
        begin = int(sys.stdin.readline())
        load, end = _load(settings, folder, sender, begin)
        cpu_s = await _measured(load, begin, end)
    records = sender.records
    names = ("due", "sent", "answered", "status")
    np.save(folder / "records.npy", np.array([getattr(records, name) for name in names], dtype=np.int64))
    outcome = {"cpu_s": cpu_s, "messages": records.messages}
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


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
