"""Where the time of a request goes, from the client to the engine and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tritonpack.loadtest.counters import Counters
from tritonpack.loadtest.generator import generate
from tritonpack.loadtest.payloads import payloads_from_rows
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from comparing.sides import Ours
    from comparing.workloads import Workload

_SECONDS = 3.0


def profile(side: Ours, workload: Workload, concurrency: int) -> dict[str, float]:
    """Mean milliseconds of a request, part by part.

    Returns:
        ``latency_ms`` that the client saw, ``queue_ms`` in the server's queues, ``compute_ms`` in its models
        (tokenizer, encoder and what moves arrays between them), and ``around_ms``, the rest: client, gRPC, scheduling;
        ``rows`` of an execution.
    """
    requests = payloads_from_rows(side.model, [{"text": text} for text in workload.texts], shuffled=False)
    counters = Counters(side.server.grpc_url, side.model)
    try:
        before = counters.read()
        level = generate(side.server.grpc_url, requests, Closed(concurrency), _SECONDS)
        queue_us, compute_us, stages = counters.times(before)
        whole = counters.read()[side.model].since(before[side.model])
    finally:
        counters.close()
    rows = max((stage.mean_batch or 0.0 for stage in stages), default=whole.rows / max(whole.executions, 1))
    return {
        "latency_ms": level.latency.mean_us / 1000,
        "queue_ms": queue_us / 1000,
        "compute_ms": compute_us / 1000,
        "around_ms": (level.latency.mean_us - queue_us - compute_us) / 1000,
        "rows": rows,
    }
