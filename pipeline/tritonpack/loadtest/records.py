"""Every request of one measurement, and the level that they add up to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import grpc
import numpy as np

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.results import Failure, Latency, Level, Slice
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.loadtest.traffic import Load

WINDOWS = 3
"""Windows of one level, whose throughputs show how noisy it is."""
_NS_PER_S = 1_000_000_000
_US_PER_S = 1_000_000
_SLICES = (10, 60)
"""At least and at most so many slices of time."""
_SLICE_S = 5.0
"""Long measurements have slices of this length, until they would be too many."""
_STATUS = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True)
class Records:
    """Every request, (n,) each, in seconds from the begin of the measurement; warm-up is negative.

    Attributes:
        due: when it should have been sent; a closed loop's is when it was.
        sent: when it was.
        answered: when its answer, good or bad, was there.
        status: gRPC's code, 0 for success.
        messages: of the first failure of each status.
        duration_s: of the measurement.
        client_cpu: processor time of the senders for each second of it, in cores.
    """

    due: NDArray[np.float64]
    sent: NDArray[np.float64]
    answered: NDArray[np.float64]
    status: NDArray[np.int64]
    messages: Mapping[int, str]
    duration_s: float
    client_cpu: float = 0.0

    @classmethod
    def from_folders(cls, folders: Sequence[Path], begin: int, duration_s: float) -> Self:
        """Gather what the senders left.

        Args:
            folders: one for each sender.
            begin: of the measurement, ns on the senders' clock.
            duration_s: of the measurement.
        """
        due, sent, answered, status = np.concatenate([np.load(folder / "records.npy") for folder in folders], axis=1)
        outcomes = [json.loads((folder / "outcome.json").read_bytes()) for folder in folders]
        messages = {int(status): told for outcome in outcomes for status, told in outcome["messages"].items()}
        cpu_s = sum(outcome["cpu_s"] for outcome in outcomes)
        due, sent, answered = ((times - begin) / _NS_PER_S for times in (due, sent, answered))
        return cls(due, sent, answered, status, messages, duration_s, cpu_s / duration_s)

    def taken(self, chosen: NDArray[np.bool_]) -> Records:
        """Only some of the requests."""
        return Records(
            self.due[chosen],
            self.sent[chosen],
            self.answered[chosen],
            self.status[chosen],
            self.messages,
            self.duration_s,
            self.client_cpu,
        )


def level_from_records(records: Records, load: Load) -> Level:
    """Add the requests of a measurement up.

    Raises:
        LoadTestError: none was answered with success inside it.
    """
    closed = isinstance(load, Closed)
    # A closed loop's requests belong to the time in which they are answered, an open loop's to when they were due.
    times = records.answered if closed else records.due
    measured = records.taken((times >= 0) & (times < records.duration_s))
    good = measured.status == 0
    failures = _failures(measured)
    if not good.any():
        told = "; ".join(f"{failure.count} {failure.status}: {failure.message}" for failure in failures)
        raise LoadTestError(
            f"no request was answered under {load.label} in {records.duration_s:g} s" + (f" ({told})" if told else ""),
            hint="the server's log may say more; slow models need more time, e.g. --duration 60",
            load=load.label,
        )
    # A throughput counts the answers inside its time, whenever they were asked for.
    ends = records.answered[records.status == 0]
    lag_s = measured.sent - measured.due
    return Level(
        concurrency=load.concurrency if isinstance(load, Closed) else 0,
        requests=int(good.sum()),
        throughput_per_s=round(int(((ends >= 0) & (ends < records.duration_s)).sum()) / records.duration_s, 3),
        window_throughput_per_s=_throughputs(ends, np.linspace(0, records.duration_s, WINDOWS + 1)),
        latency=latency_from_us((measured.answered - measured.due)[good] * _US_PER_S),
        queue_us=0.0,
        compute_us=0.0,
        load=load.label,
        offered_per_s=0.0 if isinstance(load, Closed) else round(len(measured.due) / records.duration_s, 3),
        failures=failures,
        slices=slices_from_times(times, measured_latency_us(records), records.status == 0, records.duration_s),
        client_cpu=round(records.client_cpu, 3),
        lag_p99_us=round(float(np.percentile(lag_s, 99)) * _US_PER_S, 1),
    )


def measured_latency_us(records: Records) -> NDArray[np.float64]:
    """From due to answered, µs, (n,)."""
    latency: NDArray[np.float64] = (records.answered - records.due) * _US_PER_S
    return latency


def latency_from_us(latencies_us: NDArray[np.float64]) -> Latency:
    """Mean and percentiles of at least one latency, µs."""
    quantiles = np.percentile(latencies_us, np.arange(101))
    p50, p90, p95, p99 = (round(float(quantiles[percent]), 1) for percent in (50, 90, 95, 99))
    return Latency(round(float(latencies_us.mean()), 1), p50, p90, p95, p99, _rounded(quantiles))


def slices_from_times(
    times: NDArray[np.float64], latencies_us: NDArray[np.float64], good: NDArray[np.bool_], duration_s: float
) -> tuple[Slice, ...]:
    """Cut a measurement into slices of time.

    Args:
        times: (n,) seconds from its begin, of each request.
        latencies_us: (n,).
        good: (n,) whether it was answered with success.
        duration_s: of the measurement.
    """
    count = int(min(max(duration_s // _SLICE_S, _SLICES[0]), _SLICES[1]))
    edges = np.linspace(0, duration_s, count + 1)
    slices = []
    for begin, end in pairwise(edges):
        inside = (times >= begin) & (times < end)
        answered = latencies_us[inside & good]
        slices.append(
            Slice(
                begin_s=round(float(begin), 3),
                duration_s=round(float(end - begin), 3),
                answered=len(answered),
                failed=int((inside & ~good).sum()),
                quantiles_us=_rounded(np.percentile(answered, np.arange(101))) if len(answered) else (),
            )
        )
    return tuple(slices)


def _failures(measured: Records) -> tuple[Failure, ...]:
    latency_us = measured_latency_us(measured)
    failures = []
    for status in np.unique(measured.status[measured.status != 0]):
        taken = latency_us[measured.status == status]
        failures.append(
            Failure(
                status=_STATUS.get(int(status), str(status)),
                count=len(taken),
                message=measured.messages.get(int(status), ""),
                p50_us=round(float(np.percentile(taken, 50)), 1),
                p99_us=round(float(np.percentile(taken, 99)), 1),
            )
        )
    return tuple(sorted(failures, key=lambda failure: -failure.count))


def _throughputs(ends: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    counts, _ = np.histogram(ends, edges)
    return tuple(round(float(count / length), 2) for count, length in zip(counts, np.diff(edges), strict=True))


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 1) for value in values)
