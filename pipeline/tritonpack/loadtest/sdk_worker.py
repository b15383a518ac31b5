"""The process that sends through the Python client, as an application would: one row a request.

    python -m tritonpack.loadtest.sdk_worker threads|asyncio infer|embed

The first line of its standard input is the job as JSON: ``url``, ``model``, ``rows`` (input name -> text), sent in
turn, ``concurrency``, ``duration_s``, ``warm_up_s`` and ``timeout_s``. It answers ``ready`` when it is connected, and
waits for a line with the time at which the load begins, ns of CLOCK_MONOTONIC; the measurement begins ``warm_up_s``
later. At the end it prints one line of JSON: when each request was sent and answered (ns, base64 of little-endian
int64), gRPC's codes, the first message of each that failed, and the processor time of the measurement. The package of
TypeScript holds the same program.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from base64 import b64encode
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from tritonpack_client import AsyncClient, Client, Retries, TritonClientError
from tritonpack_client.errors import ERROR_FROM_STATUS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from numpy.typing import NDArray

_NS_PER_S = 1_000_000_000
_CONNECT_TIMEOUT_S = 10.0
# Several statuses have the same error: the first of each stands for it.
_CODES = {kind: grpc.StatusCode[name].value[0] for name, (kind, _) in reversed(list(ERROR_FROM_STATUS.items()))}


class Job:
    """What is sent, and what became of it.

    Args:
        described: as in this module's docstring.
    """

    def __init__(self, described: dict[str, Any]) -> None:
        self.url: str = described["url"]
        self.model: str = described["model"]
        self.concurrency: int = described["concurrency"]
        self.timeout_s: float = described["timeout_s"]
        self.warm_up_ns = int(described["warm_up_s"] * _NS_PER_S)
        self.duration_ns = int(described["duration_s"] * _NS_PER_S)
        self._rows: Sequence[dict[str, str]] = described["rows"]
        self._following = count()
        self.answered: list[tuple[int, int, int]] = []
        self.messages: dict[int, str] = {}

    def row(self) -> dict[str, str]:
        """The next one."""
        return self._rows[next(self._following) % len(self._rows)]

    def note(self, sent: int, error: TritonClientError | None) -> None:
        """Keep a request."""
        now, code = time.monotonic_ns(), 0
        if error is not None:
            code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), 2)
            self.messages.setdefault(code, error.message)
        self.answered.append((sent, now, code))

    def outcome(self, cpu_s: float) -> dict[str, Any]:
        """What is printed at the end."""
        sent, answered, codes = np.array(self.answered, dtype="<i8").reshape(-1, 3).T
        return {
            "sent_ns": b64encode(sent.tobytes()).decode(),
            "answered_ns": b64encode(answered.tobytes()).decode(),
            "statuses": codes.tolist(),
            "messages": self.messages,
            "cpu_s": cpu_s,
        }


def threads(job: Job, verb: str) -> float:
    """Send from threads that share a client; the processor time of the measurement, in seconds."""
    with Client(job.url, timeout_s=job.timeout_s, retries=Retries(attempts=1)) as client:
        client.wait_ready(_CONNECT_TIMEOUT_S, job.model)
        client.limits(job.model)
        if verb == "embed":
            return from_threads(job, lambda row: client.embed(job.model, [*row.values()]))
        return from_threads(job, lambda row: client.infer(job.model, arrays(row)))


async def tasks(job: Job, verb: str) -> float:
    """Send from the tasks of one event loop; the processor time of the measurement, in seconds."""
    async with AsyncClient(job.url, timeout_s=job.timeout_s, retries=Retries(attempts=1)) as client:
        await client.wait_ready(_CONNECT_TIMEOUT_S, job.model)
        await client.limits(job.model)
        if verb == "embed":
            return await from_tasks(job, lambda row: client.embed(job.model, [*row.values()]))
        return await from_tasks(job, lambda row: client.infer(job.model, arrays(row)))


def arrays(row: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """A row as a request takes it."""
    return {name: np.array([[text]], dtype=np.object_) for name, text in row.items()}


def from_threads(job: Job, call: Callable[[dict[str, str]], object]) -> float:
    """Call from threads, each again when it is answered; the processor time of the measurement, in seconds."""
    start = _start()
    end = start + job.warm_up_ns + job.duration_ns

    def send() -> None:
        while (sent := time.monotonic_ns()) < end:
            error = None
            try:
                call(job.row())
            except TritonClientError as failure:
                error = failure
            job.note(sent, error)

    workers = [threading.Thread(target=send) for _ in range(job.concurrency)]
    for worker in workers:
        worker.start()
    marks = []
    for moment in (start + job.warm_up_ns, end):
        time.sleep(max(0.0, (moment - time.monotonic_ns()) / _NS_PER_S))
        marks.append(time.process_time())
    for worker in workers:
        worker.join()
    return marks[1] - marks[0]


async def from_tasks(job: Job, call: Callable[[dict[str, str]], Awaitable[object]]) -> float:
    """Call from tasks, each again when it is answered; the processor time of the measurement, in seconds."""
    start = await asyncio.to_thread(_start)
    end = start + job.warm_up_ns + job.duration_ns

    async def send() -> None:
        while (sent := time.monotonic_ns()) < end:
            error = None
            try:
                await call(job.row())
            except TritonClientError as failure:
                error = failure
            job.note(sent, error)

    workers = [asyncio.create_task(send()) for _ in range(job.concurrency)]
    marks = []
    for moment in (start + job.warm_up_ns, end):
        await asyncio.sleep(max(0.0, (moment - time.monotonic_ns()) / _NS_PER_S))
        marks.append(time.process_time())
    await asyncio.gather(*workers)
    return marks[1] - marks[0]


def _start() -> int:
    """Say that everything is ready, and wait to be told when to start."""
    gc.freeze()
    print("ready", flush=True)  # noqa: T201  the signal to the process that started this one
    return int(sys.stdin.readline())


def main() -> None:
    """Do the job of the first line."""
    job, (how, verb) = Job(json.loads(sys.stdin.readline())), sys.argv[1:3]
    try:
        cpu_s = asyncio.run(tasks(job, verb)) if how == "asyncio" else threads(job, verb)
    except TritonClientError as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(job.outcome(cpu_s)))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
