"""Our clients beside tritonclient: the same requests, each side in a process of its own, by turns."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import UnsupportedError
from tritonpack.loadtest.records import level_from_records
from tritonpack.loadtest.texts import DEFAULT_TEXTS, texts_from_file
from tritonpack.loadtest.through import Sdk, find_sdk, overhead, record
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.loadtest.results import Level

CONCURRENCY = 16
THREADS, ASYNCIO = "tritonclient.grpc, threads", "tritonclient.grpc.aio"
_OURS = (sys.executable, "-m", "tritonpack.loadtest.sdk_worker")
_RAW = (sys.executable, str(Path(__file__).with_name("raw_worker.py")))
_US_PER_MS = 1000

SIDES: Mapping[str, tuple[tuple[str, ...], str]] = {
    THREADS: ((*_RAW, "threads"), ""),
    "Client.infer, threads": ((*_OURS, "threads", "infer"), THREADS),
    "Client.embed, threads": ((*_OURS, "threads", "embed"), THREADS),
    ASYNCIO: ((*_RAW, "asyncio"), ""),
    "AsyncClient.infer": ((*_OURS, "asyncio", "infer"), ASYNCIO),
    "AsyncClient.embed": ((*_OURS, "asyncio", "embed"), ASYNCIO),
}
"""Name -> its program, and the side that it is held against."""


def sides() -> dict[str, tuple[Sdk, str]]:
    """Everyone who can be asked here; TypeScript where it is built."""
    found = {name: (Sdk(name, name, command), against) for name, (command, against) in SIDES.items()}
    try:
        found["TypeScript: Client.infer"] = find_sdk("sdk-typescript"), ASYNCIO
    except UnsupportedError:
        return found
    return found


def measure(url: str, rounds: int, seconds: float, report: Callable[[str], None]) -> dict[str, Any]:
    """Ask every side in turn, in several rounds, another one first each round.

    Args:
        url: of a server with the model ``hash``.
        rounds: one at least.
        seconds: that each side is measured in each round.
        report: called with a line before each measurement.

    Returns:
        Of each side medians, and medians of each round's ratio to the side that it is held against.
    """
    everyone = sides()
    rows = [{"text": text} for text in texts_from_file(DEFAULT_TEXTS)]
    load = Closed(CONCURRENCY)
    levels: dict[str, list[Level]] = {name: [] for name in everyone}
    names = list(everyone)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            report(f"throughput, round {number + 1} of {rounds}: {name}")
            records = record(everyone[name][0], url, "hash", rows, load, seconds)
            levels[name].append(level_from_records(records, load))
    table = {name: _figures(levels[name], levels.get(against)) | {"against": against}
             for name, (_, against) in everyone.items()}  # fmt: skip
    return {"concurrency": CONCURRENCY, "rounds": rounds, "seconds": seconds, "sides": table}


def _figures(levels: Sequence[Level], against: Sequence[Level] | None) -> dict[str, Any]:
    costs = [overhead(level, other) for level, other in zip(levels, against or levels, strict=True)]
    ratios = [cost.throughput_ratio for cost in costs]
    return {
        "per_s": statistics.median(level.throughput_per_s for level in levels),
        "p50_ms": statistics.median(level.latency.p50_us for level in levels) / _US_PER_MS,
        "p99_ms": statistics.median(level.latency.p99_us for level in levels) / _US_PER_MS,
        "cpu_us": statistics.median(cost.cpu_us for cost in costs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "failed": sum(failure.count for level in levels for failure in level.failures),
    }
