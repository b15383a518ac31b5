"""What perf_analyzer measured, as data: parsed from the files that it writes.

One run leaves a CSV for the model, a CSV for each model that an ensemble is composed of
(``<name>_v<version>.<file>``), a JSON of every request (``--profile-export-file``) and a summary on standard
output. Columns are found by their names, so versions that add columns (2.59) read like 2.50.
"""

from __future__ import annotations

import csv
import json
import re
from bisect import bisect_right
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import LoadTestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NS_PER_US = 1000
_NS_PER_S = 1_000_000_000
_COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")
_PARTS_OF_LATENCY = ("Client Send", "Network+Server Send/Recv", "Server Queue", *_COMPUTE, "Client Recv")
"""Mean times, µs, that add up to the mean latency; for an ensemble the queues of its stages are in the second."""


@dataclass(frozen=True)
class StageTime:
    """Mean time of one request in one model of an ensemble, as the server counts it.

    Attributes:
        model: the model's name.
        queue_us: waiting for an instance and for a batch.
        compute_us: input, inference and output together.
        mean_batch: rows in one execution, None if the summary doesn't say.
    """

    model: str
    queue_us: float
    compute_us: float
    mean_batch: float | None = None


@dataclass(frozen=True)
class Latency:
    """Latency that the client saw: mean, percentiles, and the distribution that they come from.

    Attributes:
        quantiles_us: the percentiles 0, 1, ... 100; empty if there was no record of every request.
    """

    mean_us: float
    p50_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    quantiles_us: tuple[float, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Requests that were answered with the same error.

    Attributes:
        status: gRPC's name of it, e.g. UNAVAILABLE.
        message: of the first.
        p50_us: how long the answer took.
    """

    status: str
    count: int
    message: str
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Slice:
    """A part of a measurement's time, to see how it went on and how much it varies.

    Attributes:
        begin_s: since the measurement began.
        answered: requests of this time that were answered with success.
        failed: and those that weren't.
        quantiles_us: percentiles 0, 1, ... 100 of their latency; empty if none was answered.
    """

    begin_s: float
    duration_s: float
    answered: int
    failed: int
    quantiles_us: tuple[float, ...] = ()


@dataclass(frozen=True)
class Level:
    """What was measured under one load.

    Attributes:
        concurrency: requests that were in flight all the time; 0 if they came at a rate.
        requests: requests that were measured; 0 if there was no record of every request.
        throughput_per_s: requests a second over all windows.
        window_throughput_per_s: the same for each window, to judge the noise.
        queue_us: mean time in queues on the server, all stages.
        compute_us: mean time in models on the server, all stages.
        stages: the models of an ensemble, in the order of their names; empty for a single model.
        load: its label, e.g. ``closed:16`` or ``poisson:200``.
        offered_per_s: requests a second that were due; 0 if they were sent when others were answered.
        failures: requests that weren't answered with success, the most frequent status first.
        slices: the time in parts; empty if there was no record of every request.
        client_cpu: cores that the generator took; 0 if it doesn't say.
        lag_p99_us: by how much the generator was late with 99% of the requests at most.
    """

    concurrency: int
    requests: int
    throughput_per_s: float
    window_throughput_per_s: tuple[float, ...]
    latency: Latency
    queue_us: float
    compute_us: float
    stages: tuple[StageTime, ...] = ()
    load: str = ""
    offered_per_s: float = 0.0
    failures: tuple[Failure, ...] = ()
    slices: tuple[Slice, ...] = ()
    client_cpu: float = 0.0
    lag_p99_us: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def level_from_files(table: Path, profile: Path | None, summary: str) -> Level:
    """Read everything that one run at one concurrency left.

    Args:
        table: the CSV that ``-f`` named; those of composing models lie beside it.
        profile: the JSON that ``--profile-export-file`` named.
        summary: perf_analyzer's standard output.

    Raises:
        LoadTestError: a file is missing or isn't what it should be.
    """
    row = _row(table)
    batches = mean_batches_from_summary(summary)
    stages = tuple(
        _stage(path.name.removesuffix(f".{table.name}"), _row(path), batches)
        for path in sorted(table.parent.glob(f"*.{table.name}"))
    )
    quantiles, windows, requests = _requests_from_profile(profile)
    return Level(
        concurrency=int(_number(row, "Concurrency")),
        requests=requests,
        throughput_per_s=_number(row, "Inferences/Second"),
        window_throughput_per_s=windows,
        latency=Latency(
            mean_us=sum(_number(row, column) for column in _PARTS_OF_LATENCY),
            p50_us=_number(row, "p50 latency"),
            p90_us=_number(row, "p90 latency"),
            p95_us=_number(row, "p95 latency"),
            p99_us=_number(row, "p99 latency"),
            quantiles_us=quantiles,
        ),
        # The ensemble's own row counts the compute of its stages, but not the time in their queues.
        queue_us=_number(row, "Server Queue") + sum(stage.queue_us for stage in stages),
        compute_us=sum(stage.compute_us for stage in stages) or _compute(row),
        stages=stages,
    )


def mean_batches_from_summary(summary: str) -> dict[str, float]:
    """Read rows for each execution of every composing model from the printed summary."""
    pattern = r"^\s*(\S+), version: \S*\s+Inference count: (\d+)\s+Execution count: (\d+)"
    found = re.findall(pattern, summary, re.MULTILINE)
    return {name: int(rows) / int(executions) for name, rows, executions in found if int(executions)}


def _stage(name: str, row: Mapping[str, str], batches: Mapping[str, float]) -> StageTime:
    model = name.rpartition("_v")[0] or name
    return StageTime(model, _number(row, "Server Queue"), _compute(row), batches.get(model))


def _compute(row: Mapping[str, str]) -> float:
    return sum(_number(row, column) for column in _COMPUTE)


def _row(table: Path) -> dict[str, str]:
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    except OSError as error:
        raise LoadTestError(f"perf_analyzer wrote no {table.name}", hint="its output says why") from error
    if len(rows) != 1:
        raise LoadTestError(f"{table.name} holds {len(rows)} rows, not one", path=str(table))
    return rows[0]


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        return float(row[column])
    except (KeyError, TypeError, ValueError) as error:
        raise LoadTestError(
            f"perf_analyzer's table has no number under {column!r}; its columns are {', '.join(row)}",
            hint="this version of perf_analyzer writes another format: `tritonpack doctor` shows which one is used",
            column=column,
        ) from error


def _requests_from_profile(profile: Path | None) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Read the distribution of latencies, the throughput of each window and the number of requests."""
    if profile is None or not profile.is_file():
        return (), (), 0
    try:
        experiment = json.loads(profile.read_bytes())["experiments"][0]
        times = [
            (int(request["timestamp"]), int(request["response_timestamps"][-1]))
            for request in experiment["requests"]
            if request["response_timestamps"]
        ]
        boundaries = [int(boundary) for boundary in experiment["window_boundaries"]]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise LoadTestError(
            f"{profile.name} isn't a profile of perf_analyzer: {error!r}", hint="its format may have changed"
        ) from error
    inside = [(start, end) for start, end in times if not boundaries or boundaries[0] <= end <= boundaries[-1]]
    if not inside:
        return (), (), 0
    latencies_us = np.array([end - start for start, end in inside], dtype=np.float64) / _NS_PER_US
    quantiles = np.percentile(latencies_us, np.arange(101))
    windows = _window_throughput([end for _, end in inside], boundaries)
    return tuple(round(float(value), 1) for value in quantiles), windows, len(inside)


def _window_throughput(ends: list[int], boundaries: list[int]) -> tuple[float, ...]:
    ordered = sorted(ends)
    positions = [bisect_right(ordered, boundary) for boundary in boundaries]
    windows = zip(positions, positions[1:], boundaries, boundaries[1:], strict=False)
    return tuple(
        round((last - first) * _NS_PER_S / (stop - start), 2) for first, last, start, stop in windows if stop > start
    )
