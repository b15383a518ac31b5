"""What a load test measured, as data, whoever generated the load."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
        memory: seconds since the measurement began and MB that the server's processes held; empty if it isn't here.
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
    memory: tuple[tuple[float, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)
