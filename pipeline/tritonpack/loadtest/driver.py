"""Measure a served model under the loads of a plan, with perf_analyzer or with the generator in Python."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import ConfigurationError, LoadTestError
from tritonpack.core.machine import this_machine
from tritonpack.endpoint import DEFAULT_URL, connected, served_limits
from tritonpack.inference import text_inputs
from tritonpack.loadtest import perf_analyzer as perf
from tritonpack.loadtest.counters import Counters
from tritonpack.loadtest.generator import generate
from tritonpack.loadtest.memory import MemoryLog, server_process
from tritonpack.loadtest.payloads import payloads_from_rows
from tritonpack.loadtest.records import level_from_records
from tritonpack.loadtest.slo import Search, highest_rate
from tritonpack.loadtest.texts import rows_of_texts, write_input_data
from tritonpack.loadtest.through import Overhead, check_through, overhead, record
from tritonpack.loadtest.traffic import Arrivals, Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psutil

    from tritonpack.loadtest.install import PerfAnalyzer
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.slo import Slo
    from tritonpack.loadtest.through import Sdk
    from tritonpack.loadtest.traffic import Load
    from tritonpack_client import Client

    Progress = Callable[[Load, float], None]
    """Called with what is measured now and the seconds since its run began."""

_WARM_UP_S = 1.0
_PROBES = (Closed(1), Closed(8))
"""What a search begins with: whether it can end, and half of what a few requests in flight reach."""
_LEAST_REQUESTS = 100
"""Of each measurement of a search, so that there is a 99th percentile."""
_LONGEST_STEP_S = 60.0
_MEMORY_SAMPLES = 240
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class LoadPlan:
    """What is measured.

    Attributes:
        concurrencies: requests in flight, one run each, where there are no ``loads``.
        duration_s: how long each load is measured.
        url: ``host:port`` of the server's gRPC endpoint.
        loads: what else than requests in flight is measured.
        slo: search the highest rate that keeps it, instead of all that.
        timeout_s: deadline of a request; perf_analyzer has none.
        through: a client library that sends the loads; the generator sends each before, to compare.
    """

    model: str
    concurrencies: tuple[int, ...] = (1, 4, 16)
    duration_s: float = 9.0
    url: str = DEFAULT_URL
    loads: tuple[Load, ...] = ()
    slo: Slo | None = None
    timeout_s: float = 30.0
    through: Sdk | None = None

    @property
    def measured(self) -> tuple[Load, ...]:
        """The loads, one level each."""
        return self.loads or tuple(Closed(concurrency) for concurrency in self.concurrencies)


@dataclass(frozen=True)
class Beside:
    """The generator beside a client library.

    Attributes:
        generator: its name and version.
        levels: one for each of the test's.
    """

    generator: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class LoadTest:
    """What was measured.

    Attributes:
        server: name and version that the server gives.
        started_at: UTC, ISO 8601.
        generator: name and version of what sent the requests.
        levels: one for each load; of a search one for each rate, the lowest first.
        search: what a search found.
        beside: of a test through a client library, the generator under the same loads.
    """

    plan: LoadPlan
    server: str
    started_at: str
    generator: str
    levels: tuple[Level, ...]
    search: Search | None = None
    beside: Beside | None = None

    @property
    def overheads(self) -> tuple[Overhead, ...]:
        """What the client library costs, one a level; empty if there was none."""
        return tuple(map(overhead, self.levels, self.beside.levels)) if self.beside else ()


def run_load_test(
    perf_analyzer: PerfAnalyzer | None, plan: LoadPlan, texts: Sequence[str], progress: Progress | None = None
) -> LoadTest:
    """Measure a served model, one row a request.

    Args:
        perf_analyzer: from ``ensure_perf_analyzer``; None for the generator in Python.
        plan: what to measure.
        texts: what to send, again and again in the same shuffled order; several texts of one request
            are separated by tabulators.
        progress: called several times a second.

    Raises:
        ConfigurationError: the server has no such model, or it takes no texts, or the plan makes no sense.
        ServerError: no server answers, or a request failed.
        LoadTestError: the generator failed.
    """
    check_plan(plan)
    if perf_analyzer:
        perf.check_loads(plan.measured, plan.slo)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    with connected(plan.url) as client:
        rows = rows_of_texts(texts, text_inputs(served_limits(client, plan.model)))
        server = client.server()
        _warm_up(client, plan.model, rows)
    name = f"perf_analyzer {perf_analyzer.version}" if perf_analyzer else f"tritonpack {this_machine().tritonpack}"
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        bench = _Bench(perf_analyzer, plan, rows, Path(folder), progress)
        if plan.slo:
            levels, search = _searched(bench, plan, plan.slo)
            return LoadTest(plan, server, started_at, name, levels, search)
        if plan.through:
            loads = [Closed(concurrency) for concurrency in plan.concurrencies]
            pairs = [(bench.level(load), bench.through(plan.through, load)) for load in loads]
            without, levels = zip(*pairs, strict=True)
            return LoadTest(plan, server, started_at, plan.through.title, levels, beside=Beside(name, without))
        levels = tuple(bench.level(load) for load in plan.measured)
    return LoadTest(plan, server, started_at, name, levels)


def check_plan(plan: LoadPlan) -> None:
    """Refuse what can't be measured.

    Raises:
        ConfigurationError: no concurrency, one below 1 or twice, no time, or the same load twice.
    """
    levels = plan.concurrencies
    if not plan.loads and (not levels or min(levels) < 1 or len(set(levels)) < len(levels)):
        raise ConfigurationError(
            f"concurrency takes different whole numbers from 1 on, not {', '.join(map(str, levels)) or 'nothing'}",
            hint="Example: --concurrency 1,4,16",
        )
    if not plan.duration_s > 0:
        raise ConfigurationError(f"the duration must be above 0 s, not {plan.duration_s:g} s")
    if plan.through:
        check_through(plan.measured, plan.slo)
    labels = [load.label for load in plan.measured]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ConfigurationError(f"{', '.join(twice)} stands twice in the traffic", hint="name each load once")
    for load in plan.loads:
        if isinstance(load, Arrivals) and load.spikes and load.spikes.every_s > plan.duration_s:
            raise ConfigurationError(
                f"no spike comes within {plan.duration_s:g} s: {load.label} has one every {load.spikes.every_s:g} s",
                hint=f"measure longer, e.g. --duration {3 * load.spikes.every_s:g}",
            )


class _Bench:
    """Measures one load after another."""

    def __init__(
        self,
        perf_analyzer: PerfAnalyzer | None,
        plan: LoadPlan,
        rows: Sequence[dict[str, str]],
        folder: Path,
        progress: Progress | None,
    ) -> None:
        self._perf_analyzer = perf_analyzer
        self._plan = plan
        self._folder = folder
        self._progress = progress
        self._rows = rows
        self._server: psutil.Process | None = server_process(plan.url)
        self._requests = [] if perf_analyzer else payloads_from_rows(plan.model, rows)
        self._data = folder / "texts.json"
        write_input_data(self._data, rows)
        self._runs = 0

    def level(self, load: Load, duration_s: float | None = None, timeout_s: float | None = None) -> Level:
        """Measure one load, by default as long as the plan says."""
        duration_s = duration_s or self._plan.duration_s
        memory = MemoryLog(self._server, max(_LEAST_SECONDS, duration_s / _MEMORY_SAMPLES))

        def report(elapsed_s: float) -> None:
            memory.sample(elapsed_s)
            if self._progress:
                self._progress(load, elapsed_s)

        if self._perf_analyzer:
            self._runs += 1
            folder = self._folder / str(self._runs)
            folder.mkdir()
            level = perf.measure(
                self._perf_analyzer, self._plan.model, self._plan.url, load, duration_s, self._data, folder, report
            )
        else:
            level = self._generated(load, duration_s, timeout_s or self._plan.timeout_s, report)
        return replace(level, memory=tuple(memory.samples))

    def through(self, sdk: Sdk, load: Closed) -> Level:
        """Measure one load through a client library, after the generator's: progress goes on from there."""
        plan = self._plan

        def report(elapsed_s: float) -> None:
            if self._progress:
                self._progress(load, plan.duration_s + elapsed_s)

        def sent() -> Level:
            records = record(
                sdk, plan.url, plan.model, self._rows, load, plan.duration_s, timeout_s=plan.timeout_s, progress=report
            )
            return level_from_records(records, load)

        return self._counted(sent)

    def _generated(self, load: Load, duration_s: float, timeout_s: float, report: Callable[[float], None]) -> Level:
        requests, url = self._requests, self._plan.url
        return self._counted(lambda: generate(url, requests, load, duration_s, timeout_s=timeout_s, progress=report))

    def _counted(self, measure: Callable[[], Level]) -> Level:
        """A level with the server's own times."""
        with closing(Counters(self._plan.url, self._plan.model)) as counters:
            before = counters.read()
            level = measure()
            queue_us, compute_us, stages = counters.times(before)
        return replace(level, queue_us=queue_us, compute_us=compute_us, stages=stages)


def _searched(bench: _Bench, plan: LoadPlan, slo: Slo) -> tuple[tuple[Level, ...], Search]:
    """Search the highest rate inside an objective."""
    found: dict[float, Level] = {}
    # What waits ten times the limit is lost for the objective, and its wait would only prolong the search.
    timeout_s = max(_LEAST_SECONDS, 10 * slo.limit_us / 1e6)

    def measure(rate: float) -> Level | None:
        seconds = min(max(plan.duration_s, _LEAST_REQUESTS / rate), max(plan.duration_s, _LONGEST_STEP_S))
        try:
            found[rate] = bench.level(Arrivals(rate), seconds, timeout_s)
        except LoadTestError:
            return None
        return found[rate]

    alone, few = (bench.level(probe, max(_LEAST_SECONDS, plan.duration_s / 3)) for probe in _PROBES)
    if slo.is_out_of_reach(alone):
        return (alone,), Search(slo, 0.0, ())
    search = highest_rate(measure, slo, few.throughput_per_s / 2)
    return tuple(found[rate] for rate in sorted(found)) or (alone,), search


def _warm_up(client: Client, model: str, rows: Sequence[dict[str, str]]) -> None:
    """Send rows for a second: first requests pay for memory, and a bad one fails here with a clear error."""
    deadline = time.monotonic() + _WARM_UP_S
    for row in cycle(rows):
        client.infer(model, {name: np.array([[text]], dtype=np.object_) for name, text in row.items()})
        if time.monotonic() >= deadline:
            return
