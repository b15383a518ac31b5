"""Where the time of a request goes, from the client to the engine and back, as the server itself counts it."""

from __future__ import annotations

import re
import time
import urllib.request
from collections import defaultdict
from typing import TYPE_CHECKING

from tritonpack.loadtest.counters import Counters
from tritonpack.loadtest.generator import generate
from tritonpack.loadtest.payloads import payloads_from_rows
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from comparing.sides import Ours
    from comparing.workloads import Workload

_SECONDS = 3.0
_PERIOD_S = 1.5
"""The ensemble's process sends its counters once a second."""
_TIMEOUT_S = 10.0
_COUNTER = re.compile(r"^tritonpack_(\w+)_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def profile(side: Ours, workload: Workload, concurrency: int) -> dict[str, float]:
    """Milliseconds of a request in the mean, part by part.

    Returns:
        ``latency_ms`` that the client saw, ``queue_ms`` in the server's queues, ``compute_ms`` in its models, and
        ``around_ms``, the rest: client, gRPC, scheduling. Of the time in models: ``STEP_ms`` of each step, a batch's
        time counted once, not for each of its rows. ``rows`` of an engine's call, and ``padding``, the share of its
        cells that is none of the rows'.
    """
    requests = payloads_from_rows(side.model, [{"text": text} for text in workload.texts], shuffled=False)
    counters = Counters(side.server.grpc_url, side.model)
    try:
        time.sleep(_PERIOD_S)
        told, before = _told(side), counters.read()
        level = generate(side.server.grpc_url, requests, Closed(concurrency), _SECONDS)
        queue_us, compute_us, _ = counters.times(before)
        answered = counters.read()[side.model].since(before[side.model])
        time.sleep(_PERIOD_S)
        now = _told(side)
    finally:
        counters.close()
    grown = {key: now[key] - told[key] for key in now}
    steps = {step: seconds for (name, step), seconds in grown.items() if name == "step_seconds"}
    rows, calls, elements, cells = (
        sum(value for (name, _), value in grown.items() if name == wanted)
        for wanted in ("rows", "calls", "elements", "cells")
    )
    return {
        "latency_ms": level.latency.mean_us / 1000,
        "queue_ms": queue_us / 1000,
        "compute_ms": compute_us / 1000,
        "around_ms": (level.latency.mean_us - queue_us - compute_us) / 1000,
        **{
            f"{step.removeprefix(side.model + '_')}_ms": 1000 * seconds / max(answered.rows, 1)
            for step, seconds in steps.items()
        },
        "rows": rows / max(calls, 1),
        "padding": 1 - elements / cells if cells else 0.0,
    }


def counters_from_text(text: str) -> dict[tuple[str, str], float]:
    """Read the ensemble's own counters from the server's metrics, by name and step."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for name, labels, value in _COUNTER.findall(text):
        found[name, dict(_LABEL.findall(labels)).get("step", "")] += float(value)
    return found


def _told(side: Ours) -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(side.server.metrics_url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  our own server's
        return counters_from_text(answer.read().decode())
