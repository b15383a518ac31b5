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
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.records import slices_from_times
from tritonpack.loadtest.results import Latency, Level, StageTime
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.loadtest.results import Slice
    from tritonpack.loadtest.traffic import Load

_NS_PER_US = 1000
_NS_PER_S = 1_000_000_000
_COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")
_PARTS_OF_LATENCY = ("Client Send", "Network+Server Send/Recv", "Server Queue", *_COMPUTE, "Client Recv")
"""Mean times, µs, that add up to the mean latency; for an ensemble the queues of its stages are in the second."""


def level_from_files(table: Path, profile: Path | None, summary: str, load: Load) -> Level:
    """Read everything that one run under one load left.

    Args:
        table: the CSV that ``-f`` named; those of composing models lie beside it.
        profile: the JSON that ``--profile-export-file`` named.
        summary: perf_analyzer's standard output.
        load: what was asked for.

    Raises:
        LoadTestError: a file is missing or isn't what it should be.
    """
    row = _row(table)
    batches = mean_batches_from_summary(summary)
    stages = tuple(
        _stage(path.name.removesuffix(f".{table.name}"), _row(path), batches)
        for path in sorted(table.parent.glob(f"*.{table.name}"))
    )
    quantiles, windows, slices, requests = _requests_from_profile(profile)
    return Level(
        concurrency=load.concurrency if isinstance(load, Closed) else 0,
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
        load=load.label,
        offered_per_s=0.0 if isinstance(load, Closed) else load.mean_rate_per_s,
        slices=slices,
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


def _requests_from_profile(
    profile: Path | None,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[Slice, ...], int]:
    """Read the distribution of latencies, the throughput of each window, slices of time and the number of requests."""
    if profile is None or not profile.is_file():
        return (), (), (), 0
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
        return (), (), (), 0
    starts, ends = np.array(inside, dtype=np.int64).T
    latencies_us = (ends - starts) / _NS_PER_US
    quantiles = np.percentile(latencies_us, np.arange(101))
    windows = _window_throughput(ends.tolist(), boundaries)
    begin, last = (boundaries[0], boundaries[-1]) if boundaries else (int(starts.min()), int(ends.max()) + 1)
    slices = slices_from_times(
        (ends - begin) / _NS_PER_S, latencies_us, np.ones(len(ends), dtype=np.bool_), (last - begin) / _NS_PER_S
    )
    return tuple(round(float(value), 1) for value in quantiles), windows, slices, len(inside)


def _window_throughput(ends: list[int], boundaries: list[int]) -> tuple[float, ...]:
    ordered = sorted(ends)
    positions = [bisect_right(ordered, boundary) for boundary in boundaries]
    windows = zip(pairwise(positions), pairwise(boundaries), strict=True)
    return tuple(
        round((last - first) * _NS_PER_S / (stop - start), 2)
        for (first, last), (start, stop) in windows
        if stop > start
    )
