"""A search without servers: what settings are worth follows from a formula, and a study is run on it."""

from __future__ import annotations

import sys
from pathlib import Path

from tritonpack.core.machine import Machine
from tritonpack.loadtest.slo import Slo
from tritonpack.recipe import recipe_from_document
from tritonpack.tuning.measure import Climb, Point
from tritonpack.tuning.plan import TuningPlan
from tritonpack.tuning.space import Settings, Space, own_settings
from tritonpack.tuning.study import Sampler, Search
from tritonpack.tuning.tune import Tuned

sys.path.insert(0, str(Path(__file__).parent))

from tiny_recipe import SMALLEST

SLO = Slo("p99", 25_000.0)
RECIPE = recipe_from_document({**SMALLEST, "serving": {"max_batch": 16, "queue_delay_us": 300, "threads": 1}})
SPACE = Space.of_recipe(RECIPE, [("cpu", "fp32"), ("cpu", "int8_dynamic")], 2)
OWN = own_settings(RECIPE, "cpu", "fp32")
BEST = Settings("cpu", "int8_dynamic", 64, 0, 2, 1)
FINGERPRINT = {"recipe": "tiny", "SLO": str(SLO)}


def point(concurrency=1, throughput=100.0, p99_ms=10.0, duration_s=1.0, slo=SLO):
    """A measurement with latencies around its p99."""
    shares = {"mean": 0.5, "p50": 0.4, "p90": 0.7, "p95": 0.8, "p99": 1.0}
    latency_us = {name: share * p99_ms * 1000 for name, share in shares.items()}
    return Point(concurrency, duration_s, throughput, latency_us, latency_us[slo.measure] / slo.limit_us)


def capacity(settings):
    """Requests a second at the server's limit: the nearer to `BEST`, the more."""
    alike = sum(getattr(settings, name) == value for name, value in BEST.as_dict().items())
    return 100.0 + 50.0 * alike


def measured(settings, concurrency, duration_s):
    """A queue: half of the capacity with one request in flight, and then latency grows."""
    throughput = capacity(settings) * concurrency / (concurrency + 1)
    return point(concurrency, throughput, 1.5 * concurrency / throughput * 1000, duration_s)


def attempt(number, settings, climbed):
    """What `Search.run` calls, without a server."""
    del number
    return climbed(Climb(lambda concurrency, duration_s: measured(settings, concurrency, duration_s), 1.0, 32))


def search(file=None, sampler=Sampler.TPE, fingerprint=FINGERPRINT):
    """A study of the tiny recipe."""
    return Search(SPACE, OWN, sampler, fingerprint, file)


def tuned(found=None, confirmation=None, overlay=None, trials=8):
    """What a search of the formula found; ``found`` picks a trial."""
    study = search()
    done = tuple(study.run(attempt, trials, None))
    return Tuned(
        recipe="tiny",
        plan=TuningPlan(SLO, trials=trials),
        started_at="2026-11-22T12:00:00+00:00",
        machine=Machine("a processor", 2, 8.0, "Linux x86_64", "glibc 2.36", "3.11.7", "0.1.0"),
        load="perf_analyzer 2.59",
        texts={"source": "texts.txt", "count": 200, "words_mean": 18.3, "words_max": 90},
        versions={"optuna": "5.0.0", "onnxruntime": "onnxruntime==1.31.1"},
        trials=done,
        own=done[0],
        found=None if found is None else found(done),
        confirmation=confirmation,
        overlay=overlay,
        left_out={"gpu (fp16)": "engine tensorrt can't be served on this machine"},
    )
