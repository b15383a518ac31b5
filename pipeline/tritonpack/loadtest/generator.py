"""A load generator in Python: requests that are bytes already, sent over gRPC from processes of their own.

    from tritonpack.loadtest.generator import generate
    from tritonpack.loadtest.payloads import payloads_from_rows
    from tritonpack.loadtest.traffic import Arrivals, Closed

    requests = payloads_from_rows("minilm", [{"text": "one"}, {"text": "two"}])
    level = generate("127.0.0.1:8001", requests, Closed(16), 10.0)
    level = generate("127.0.0.1:8001", requests, Arrivals(200.0), 10.0)
    level.throughput_per_s, level.latency.p99_us, level.failures

An open loop (`Arrivals`) takes the latency from when a request was *due*, not from when it was sent, so that a
server that holds the generator up doesn't look fast (no coordinated omission).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from tritonpack.core.errors import ConfigurationError
from tritonpack.loadtest.records import Records, level_from_records
from tritonpack.loadtest.senders import SenderProcess, wait
from tritonpack.loadtest.traffic import Arrivals, Closed, arrival_times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.traffic import Load

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_NS_PER_S = 1_000_000_000
_START_S = 0.05
_END_ALLOWANCE_S = 20.0


class Settings(TypedDict, total=False):
    """How a load is sent.

    Attributes:
        warm_up_s: the same load before, unmeasured.
        timeout_s: deadline of a request; what isn't answered then counts as DEADLINE_EXCEEDED.
        processes: that send; one sends some thousand requests a second (`Level.client_cpu` says how busy it was).
        seed: of Poisson's distances.
        method: the full name of a unary gRPC method.
        progress: called several times a second with the seconds since the measurement began.
    """

    warm_up_s: float
    timeout_s: float
    processes: int
    seed: int
    method: str
    progress: Callable[[float], None] | None


def generate(
    url: str,
    requests: Sequence[bytes],
    load: Load,
    duration_s: float,
    **settings: Unpack[Settings],
) -> Level:
    """Load a gRPC server and say how it did.

    Args:
        url: ``host:port``.
        requests: serialized ``ModelInferRequest``s (or what ``method`` takes), sent in this order, again and again.
        load: `Closed` for requests in flight, `Arrivals` for a rate.
        duration_s: how long is measured. Answers inside it count for the throughput; latencies are those of the
            answers inside it (closed loop), or of all requests due in it, which are waited for (open loop).
        settings: as `Settings` says.

    Returns:
        Throughput, latency, failures by status, slices of time. Queue and compute are 0: only the server's
        statistics know them.

    Raises:
        ConfigurationError: there is nothing to send, or an argument makes no sense.
        LoadTestError: nobody answers at ``url``, or no request was answered with success.
    """
    return level_from_records(record(url, requests, load, duration_s, **settings), load)


def record(
    url: str,
    requests: Sequence[bytes],
    load: Load,
    duration_s: float,
    *,
    warm_up_s: float = 1.0,
    timeout_s: float = 30.0,
    processes: int = 1,
    seed: int = 20,
    method: str = METHOD,
    progress: Callable[[float], None] | None = None,
) -> Records:
    """As `generate`, but every request by itself."""
    _check(requests, load, duration_s, warm_up_s, timeout_s, processes)
    processes = min(processes, load.concurrency) if isinstance(load, Closed) else processes
    settings = {"url": url, "method": method, "timeout_s": timeout_s, "duration_s": duration_s}
    with tempfile.TemporaryDirectory(prefix="tritonpack-load-") as name:
        folders = [Path(name, str(number)) for number in range(processes)]
        for number, folder in enumerate(folders):
            folder.mkdir()
            first = number * len(requests) // processes
            ordered = [b64encode(request).decode() for request in (*requests[first:], *requests[:first])]
            concurrency = 0
            if isinstance(load, Closed):
                concurrency = len(range(number, load.concurrency, processes))
            else:
                arrivals = arrival_times(load, duration_s, seed=seed, before_s=warm_up_s)
                np.save(folder / "arrivals.npy", arrivals[number::processes])
            document = settings | {"requests": ordered, "concurrency": concurrency}
            (folder / "settings.json").write_text(json.dumps(document), encoding="utf-8")
        with ExitStack() as stack:
            senders = [
                stack.enter_context(SenderProcess(_command(folder), folder / "errors.txt")) for folder in folders
            ]
            for sender in senders:
                sender.wait_until_ready()
            begin = time.monotonic_ns() + int((_START_S + warm_up_s) * _NS_PER_S)
            for sender in senders:
                sender.say(str(begin))
            wait(senders, begin, duration_s + timeout_s + _END_ALLOWANCE_S, progress)
        return Records.from_folders(folders, begin, duration_s)


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tritonpack.loadtest.worker", str(folder)]


def _check(
    requests: Sequence[bytes], load: Load, duration_s: float, warm_up_s: float, timeout_s: float, processes: int
) -> None:
    if not requests:
        raise ConfigurationError("there is no request to send", hint="give at least one serialized request")
    if isinstance(load, Arrivals) and not load.rate_per_s > 0:
        raise ConfigurationError(f"the rate must be above 0 requests a second, not {load.rate_per_s:g}")
    if isinstance(load, Closed) and load.concurrency < 1:
        raise ConfigurationError(f"the concurrency must be at least 1, not {load.concurrency}")
    if not (duration_s > 0 and timeout_s > 0 and warm_up_s >= 0 and processes >= 1):
        raise ConfigurationError(
            "duration_s and timeout_s must be above 0, warm_up_s at least 0 and processes at least 1; got "
            f"{duration_s:g}, {timeout_s:g}, {warm_up_s:g} and {processes}"
        )
