"""Load through a client library, beside a generator that only sends: what the library costs.

The library's program is a process of its own. Python's is `tritonpack.loadtest.sdk_worker`, whose docstring says how
such a program is talked to; TypeScript's comes with its package.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from base64 import b64decode
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ConfigurationError, UnsupportedError
from tritonpack.loadtest.records import Records
from tritonpack.loadtest.senders import SenderProcess, wait
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.slo import Slo
    from tritonpack.loadtest.traffic import Load

SDKS = ("sdk-python", "sdk-python-async", "sdk-typescript")
_CHECKOUT = Path(__file__).parents[3]
_TYPESCRIPT = "tritonpack-client-load"
_NS_PER_S = 1_000_000_000
_US_PER_S = 1_000_000
_US_PER_MS = 1000
_END_ALLOWANCE_S = 20.0


@dataclass(frozen=True)
class Sdk:
    """A client library that can be loaded through.

    Attributes:
        name: one of `SDKS`.
        title: the library, for reports.
        command: its program.
    """

    name: str
    title: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Overhead:
    """What the library costs under one load, beside the generator.

    Attributes:
        load: its label.
        throughput_ratio: the library's requests a second to the generator's.
        p50_ms, p99_ms: by how much the library's latency is longer.
        cpu_us: processor time of the library's process for each request.
        generator_cpu_us: the generator's; None where it doesn't say.
    """

    load: str
    throughput_ratio: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    generator_cpu_us: float | None


def find_sdk(name: str) -> Sdk:
    """Find a client library's program.

    Args:
        name: one of `SDKS`.

    Raises:
        UnsupportedError: it isn't installed.
    """
    if name != "sdk-typescript":
        kind = "asyncio" if name.endswith("async") else "threads"
        title = f"tritonpack-client {version('tritonpack-client')} for Python, {kind}"
        return Sdk(name, title, (sys.executable, "-m", "tritonpack.loadtest.sdk_worker", kind, "infer"))
    package = _CHECKOUT / "clients/typescript"
    built, needed = package / "dist/load.js", package / "node_modules/@grpc/grpc-js"
    node = shutil.which("node")
    if found := shutil.which(_TYPESCRIPT):
        return Sdk(name, "tritonpack-client for TypeScript", (found,))
    if node and built.is_file() and needed.is_dir():
        return Sdk(name, "tritonpack-client for TypeScript", (node, str(built)))
    raise UnsupportedError(
        f"the client for TypeScript isn't here: there is no {_TYPESCRIPT} on PATH"
        + ("" if node else ", and no node either"),
        hint=f"in a checkout `make typescript` builds it; elsewhere the package brings {_TYPESCRIPT}",
    )


def check_through(loads: Sequence[Load], slo: Slo | None) -> None:
    """Refuse what isn't measured through a client library.

    Raises:
        ConfigurationError: requests come at a rate.
    """
    if slo or not all(isinstance(load, Closed) for load in loads):
        raise ConfigurationError(
            "--through goes with closed loops, not with rates: a library's overhead is that of each request",
            hint="say how many requests are in flight: --concurrency 1,4,16",
        )


def record(
    sdk: Sdk,
    url: str,
    model: str,
    rows: Sequence[Mapping[str, str]],
    load: Closed,
    duration_s: float,
    *,
    warm_up_s: float = 1.0,
    timeout_s: float = 30.0,
    progress: Callable[[float], None] | None = None,
) -> Records:
    """Load a server through a client library.

    Args:
        sdk: of `find_sdk`.
        url: ``host:port``.
        model: the model's name.
        rows: input name -> text; one a request, sent in this order, again and again.
        load: how many are in flight.
        duration_s: how long is measured.
        warm_up_s: the same load before, unmeasured.
        timeout_s: deadline of a request.
        progress: called several times a second with the seconds since the measurement began.

    Raises:
        LoadTestError: the library's program failed.
    """
    job = {
        "url": url,
        "model": model,
        "rows": list(rows),
        "concurrency": load.concurrency,
        "duration_s": duration_s,
        "warm_up_s": warm_up_s,
        "timeout_s": timeout_s,
    }
    with (
        tempfile.TemporaryDirectory(prefix="tritonpack-through-") as folder,
        SenderProcess(sdk.command, Path(folder, "errors.txt")) as sender,
    ):
        sender.say(json.dumps(job))
        sender.wait_until_ready()
        start = time.monotonic_ns()
        begin = start + int(warm_up_s * _NS_PER_S)
        sender.say(str(start))
        wait([sender], begin, duration_s + timeout_s + _END_ALLOWANCE_S, progress)
        return _records(json.loads(sender.printed), begin, duration_s)


def overhead(level: Level, generator: Level) -> Overhead:
    """Hold a level through a library against the generator's under the same load."""
    return Overhead(
        load=level.load,
        throughput_ratio=round(level.throughput_per_s / generator.throughput_per_s, 4),
        p50_ms=round((level.latency.p50_us - generator.latency.p50_us) / _US_PER_MS, 4),
        p99_ms=round((level.latency.p99_us - generator.latency.p99_us) / _US_PER_MS, 4),
        cpu_us=_cpu_us(level),
        generator_cpu_us=_cpu_us(generator) if generator.client_cpu else None,
    )


def _cpu_us(level: Level) -> float:
    return round(level.client_cpu * _US_PER_S / level.throughput_per_s, 1)


def _records(outcome: Mapping[str, Any], begin: int, duration_s: float) -> Records:
    sent, answered = (
        (np.frombuffer(b64decode(outcome[name]), "<i8") - begin) / _NS_PER_S for name in ("sent_ns", "answered_ns")
    )
    messages = {int(code): message for code, message in outcome["messages"].items()}
    status = np.array(outcome["statuses"], np.int64)
    return Records(sent, sent, answered, status, messages, duration_s, outcome["cpu_s"] / duration_s)
