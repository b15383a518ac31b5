"""A load test as a JSON document and as one HTML page that needs nothing else."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import StoreError
from tritonpack.loadtest.charts import COLORS, Series, compact, distribution_chart, line_chart, stacked_bars
from tritonpack.loadtest.driver import WINDOWS
from tritonpack.reports.page import page_from_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.core.machine import Machine
    from tritonpack.loadtest.driver import LoadTest
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.texts import TextSummary

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_US_PER_MS = 1000
_NOISY_SPREAD = 0.25
_STAGE_COLORS = (("#bfdbfe", "#2563eb"), ("#fed7aa", "#ea580c"), ("#a7f3d0", "#059669"), ("#e9d5ff", "#9333ea"))
"""Queue and compute of one stage: a light and a full tone of one colour."""
_REST_COLOR = "#cbd5e1"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    json: Path
    html: Path


@dataclass(frozen=True)
class Figure:
    """One plot of the page; ``legend`` pairs names with colours."""

    title: str
    note: str
    svg: str
    legend: list[tuple[str, str]]


def document_from_test(test: LoadTest, texts: TextSummary, machine: Machine) -> dict[str, Any]:
    """Gather everything that a reader needs to compare this test with another; times in microseconds."""
    return {
        "format": 1,
        "model": test.plan.model,
        "server": test.server,
        "url": test.plan.url,
        "started_at": test.started_at,
        "perf_analyzer": test.perf_analyzer,
        "measurement": {"windows": WINDOWS, "window_ms": test.plan.window_ms, "texts_per_request": 1},
        "texts": asdict(texts),
        "machine": asdict(machine),
        "levels": [level.as_dict() for level in test.levels],
    }


def write_report(folder: Path, test: LoadTest, texts: TextSummary, machine: Machine) -> ReportFiles:
    """Write ``<model>-bench.json`` and ``<model>-bench.html``.

    Raises:
        MissingExtraError: jinja2 isn't installed.
        StoreError: the folder can't be written.
    """
    files = ReportFiles(folder / f"{test.plan.model}-bench.json", folder / f"{test.plan.model}-bench.html")
    document = document_from_test(test, texts, machine)
    page = html_from_test(test, texts, machine)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        files.html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the report can't be written to {folder}: {error.strerror}", hint="name another folder with --report"
        ) from error
    return files


def html_from_test(test: LoadTest, texts: TextSummary, machine: Machine) -> str:
    """Draw the page.

    Raises:
        MissingExtraError: jinja2 isn't installed.
    """
    return page_from_template(
        _TEMPLATE,
        filters={"ms": lambda microseconds: f"{microseconds / _US_PER_MS:,.1f}"},
        hint="pip install 'tritonpack[loadtest]'",
        test=test,
        texts=texts,
        machine=machine,
        windows=WINDOWS,
        window_s=f"{test.plan.window_ms / 1000:g}",
        best=max(test.levels, key=lambda level: level.throughput_per_s),
        first=min(test.levels, key=lambda level: level.concurrency),
        last=max(test.levels, key=lambda level: level.concurrency),
        figures=figures_from_levels(test.levels),
        noisy=[level.concurrency for level in test.levels if spread(level) > _NOISY_SPREAD],
        command=command_from_test(test),
        compact=compact,
    )


def command_from_test(test: LoadTest) -> str:
    """Write the command that repeats this test."""
    plan = test.plan
    concurrencies = ",".join(str(level) for level in plan.concurrencies)
    words = ["tritonpack", "bench", plan.model, "--concurrency", concurrencies]
    return shlex.join([*words, "--duration", f"{plan.duration_s:g}", "--url", plan.url])


def spread(level: Level) -> float:
    """How far the windows of one level lie apart, as a part of their mean; 0 if there is one window."""
    windows = level.window_throughput_per_s
    return (max(windows) - min(windows)) / (sum(windows) / len(windows)) if windows and sum(windows) else 0.0


def figures_from_levels(levels: Sequence[Level]) -> list[Figure]:
    """Draw every plot that the data allows."""
    ordered = sorted(levels, key=lambda level: level.concurrency)
    figures = [_throughput(ordered), _percentiles(ordered), _time_spent(ordered)]
    if all(level.latency.quantiles_us for level in ordered):
        figures.append(_distribution(ordered))
    return figures


def _categories(levels: Sequence[Level]) -> list[str]:
    return [str(level.concurrency) for level in levels]


def _throughput(levels: Sequence[Level]) -> Figure:
    windows = [level.window_throughput_per_s or (level.throughput_per_s,) for level in levels]
    series = Series(
        "throughput",
        [level.throughput_per_s for level in levels],
        low=[min(window) for window in windows],
        high=[max(window) for window in windows],
    )
    svg = line_chart(_categories(levels), [series], "Concurrency", "Requests per second")
    return Figure("Throughput", "Bars: the slowest and the fastest window.", svg, [])


def _percentiles(levels: Sequence[Level]) -> Figure:
    names = ("p50", "p90", "p99")
    series = [Series(name, [getattr(level.latency, f"{name}_us") / _US_PER_MS for level in levels]) for name in names]
    svg = line_chart(_categories(levels), series, "Concurrency", "Latency, ms")
    return Figure("Latency", "As the client sees it.", svg, list(zip(names, COLORS, strict=False)))


def _time_spent(levels: Sequence[Level]) -> Figure:
    """Split the mean latency into the queue and the compute of each stage, and what is left."""
    parts: dict[tuple[str, str], list[float]] = {}
    for index, level in enumerate(levels):
        for name, color, microseconds in _parts(level):
            parts.setdefault((name, color), [0.0] * len(levels))[index] = microseconds / _US_PER_MS
    series = [Series(name, values, color=color) for (name, color), values in parts.items()]
    svg = stacked_bars(_categories(levels), series, "Concurrency", "Mean time of a request, ms")
    note = "Queue and compute are counted by the server; the rest is the network, gRPC and the client."
    return Figure("Where the time goes", note, svg, list(parts))


def _parts(level: Level) -> list[tuple[str, str, float]]:
    """Name, colour and mean time, µs, of each part of a request, in the order in which it passes them."""
    stages = [(f"{stage.model} ", stage.queue_us, stage.compute_us) for stage in reversed(level.stages)]
    parts = []
    for index, (prefix, queue_us, compute_us) in enumerate(stages or [("", level.queue_us, level.compute_us)]):
        light, full = _STAGE_COLORS[index % len(_STAGE_COLORS)]
        parts += [(f"{prefix}queue", light, queue_us), (f"{prefix}compute", full, compute_us)]
    rest = level.latency.mean_us - sum(microseconds for _, _, microseconds in parts)
    return [*parts, ("the rest", _REST_COLOR, max(rest, 0.0))]


def _distribution(levels: Sequence[Level]) -> Figure:
    series = [
        Series(f"concurrency {level.concurrency}", [value / _US_PER_MS for value in level.latency.quantiles_us])
        for level in levels
    ]
    svg = distribution_chart(series, "Latency, ms (logarithmic)", "Requests answered, %")
    names = [one.name for one in series]
    return Figure("Distribution of latency", "Up to the 99th percentile.", svg, list(zip(names, COLORS, strict=False)))
