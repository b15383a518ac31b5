"""The plots of a load test's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack.loadtest.charts import (
    COLORS,
    Points,
    Series,
    compact,
    distribution_chart,
    line_chart,
    stacked_bars,
    xy_chart,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.slo import Search

_US_PER_MS = 1000
_STAGE_COLORS = (("#bfdbfe", "#2563eb"), ("#fed7aa", "#ea580c"), ("#a7f3d0", "#059669"), ("#e9d5ff", "#9333ea"))
"""Queue and compute of one stage: a light and a full tone of one colour."""
_REST_COLOR = "#cbd5e1"
_MET_COLOR, _MISSED_COLOR = "#059669", "#ea580c"
_PERCENTILES = ("p50", "p90", "p99")
_DRAWN_SAMPLES = 10


@dataclass(frozen=True)
class Figure:
    """One plot of the page; ``legend`` pairs names with colours."""

    title: str
    note: str
    svg: str
    legend: list[tuple[str, str]]


@dataclass(frozen=True)
class Axis:
    """What the levels of a test differ in.

    Attributes:
        title: of an axis.
        column: of a table.
        ticks: each level's value.
        phrases: each level in a sentence: "at ...".
        rates: each level's rate, requests a second; empty if they aren't rates.
    """

    title: str
    column: str
    ticks: list[str]
    phrases: list[str]
    rates: list[float]


def axis_of_levels(levels: Sequence[Level]) -> Axis:
    """Name what the levels differ in, and its value at each."""
    if all(level.concurrency for level in levels):
        ticks = [str(level.concurrency) for level in levels]
        return Axis("Concurrency", "concurrency", ticks, [f"concurrency {tick}" for tick in ticks], [])
    kinds = {level.load.partition(":")[0] for level in levels}
    if kinds in ({"poisson"}, {"constant"}):
        rates = [float(level.load.partition(":")[2]) for level in levels]
        ticks = [compact(rate) for rate in rates]
        return Axis("Requests sent per second", "sent, /s", ticks, [f"{tick} requests/s" for tick in ticks], rates)
    ticks = [level.load for level in levels]
    return Axis("Load", "load", ticks, ticks, [])


def figures_from_levels(levels: Sequence[Level], search: Search | None = None) -> list[Figure]:
    """Draw every plot that the data allows."""
    ordered = sorted(levels, key=lambda level: level.concurrency)
    figures = [_search(search)] if search and search.steps else []
    if len(ordered) == 1 and ordered[0].slices:
        figures += _course(ordered[0])
    else:
        figures += [_throughput(ordered), _percentiles(ordered)]
    if any(level.compute_us for level in ordered):
        figures.append(_time_spent(_spread(ordered)))
    if all(level.latency.quantiles_us for level in ordered):
        figures.append(_distribution(_spread(ordered)))
    return figures


def _throughput(levels: Sequence[Level]) -> Figure:
    axis = axis_of_levels(levels)
    answered = [level.throughput_per_s for level in levels]
    if axis.rates:
        points = [
            Points("sent", [(0.0, 0.0), (max(axis.rates), max(axis.rates))], _REST_COLOR),
            Points("answered", list(zip(axis.rates, answered, strict=True)), COLORS[0]),
        ]
        svg = xy_chart(points, axis.title, "Requests per second")
        return Figure("Throughput", "Below the grey line the server doesn't keep up.", svg, _point_legend(points))
    windows = [level.window_throughput_per_s or (level.throughput_per_s,) for level in levels]
    series = Series(
        "answered", answered, low=[min(window) for window in windows], high=[max(window) for window in windows]
    )
    svg = line_chart(axis.ticks, [series], axis.title, "Requests per second")
    return Figure("Throughput", "Bars: the slowest and the fastest window.", svg, [])


def _percentiles(levels: Sequence[Level]) -> Figure:
    axis = axis_of_levels(levels)
    series = [
        Series(name, [getattr(level.latency, f"{name}_us") / _US_PER_MS for level in levels]) for name in _PERCENTILES
    ]
    if axis.rates:
        points = [
            Points(one.name, list(zip(axis.rates, one.values, strict=True)), color)
            for one, color in zip(series, COLORS, strict=False)
        ]
        svg = xy_chart(points, axis.title, "Latency, ms")
    else:
        svg = line_chart(axis.ticks, series, axis.title, "Latency, ms")
    return Figure("Latency", "As the client sees it.", svg, _legend(series))


def _spread(levels: Sequence[Level]) -> list[Level]:
    """At most as many levels as there are colours: the first, the last and what lies evenly between."""
    count = min(len(levels), len(COLORS))
    return [levels[round(step * (len(levels) - 1) / max(count - 1, 1))] for step in range(count)]


def _course(level: Level) -> list[Figure]:
    """How one level went on over its time."""
    middles = [part.begin_s + part.duration_s / 2 for part in level.slices]
    answered = [part.answered / part.duration_s for part in level.slices]
    rates = [Points("answered", list(zip(middles, answered, strict=True)), COLORS[0])]
    if any(part.failed for part in level.slices):
        failed = [part.failed / part.duration_s for part in level.slices]
        rates.append(Points("failed", list(zip(middles, failed, strict=True)), COLORS[1]))
    latencies = [
        Points(
            name,
            [
                (middle, part.quantiles_us[int(name[1:])] / _US_PER_MS)
                for middle, part in zip(middles, level.slices, strict=True)
                if part.quantiles_us
            ],
            color,
        )
        for name, color in zip(_PERCENTILES, COLORS, strict=False)
    ]
    note = f"In {len(level.slices)} parts of {level.slices[0].duration_s:.3g} s."
    figures = [
        Figure("Throughput over time", note, xy_chart(rates, "Seconds", "Requests per second"), _point_legend(rates)),
        Figure("Latency over time", note, xy_chart(latencies, "Seconds", "Latency, ms"), _point_legend(latencies)),
    ]
    if len(level.memory) >= _DRAWN_SAMPLES:
        memory = Points("resident memory", level.memory, COLORS[2])
        svg = xy_chart([memory], "Seconds", "Resident memory, MB", from_zero=False)
        figures.append(
            Figure("Memory over time", "The server and its processes; the axis doesn't begin at 0.", svg, [])
        )
    return figures


def _search(search: Search) -> Figure:
    limit = search.slo.limit_us
    # One value far above the limit would press all others to the ground.
    shown = [(step, min(step.value_us, 3 * limit) / _US_PER_MS) for step in search.steps]
    points = [
        Points(name, [(step.rate_per_s, value) for step, value in shown if step.met is met], color, joined=False)
        for name, met, color in (("kept", True, _MET_COLOR), ("not kept", False, _MISSED_COLOR))
    ]
    title = f"{search.slo.measure}, ms"
    svg = xy_chart(points, "Requests sent per second", title, limit=limit / _US_PER_MS)
    note = "Every measurement of the search; values above three times the limit are drawn there."
    return Figure(f"Search for {search.slo}", note, svg, _point_legend(points))


def _time_spent(levels: Sequence[Level]) -> Figure:
    """Split the mean latency into the queue and the compute of each stage, and what is left."""
    parts: dict[tuple[str, str], list[float]] = {}
    for index, level in enumerate(levels):
        for name, color, microseconds in _parts(level):
            parts.setdefault((name, color), [0.0] * len(levels))[index] = microseconds / _US_PER_MS
    series = [Series(name, values, color=color) for (name, color), values in parts.items()]
    axis = axis_of_levels(levels)
    svg = stacked_bars(axis.ticks, series, axis.title, "Mean time of a request, ms")
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
        Series(phrase, [value / _US_PER_MS for value in level.latency.quantiles_us])
        for phrase, level in zip(axis_of_levels(levels).phrases, levels, strict=True)
    ]
    svg = distribution_chart(series, "Latency, ms (logarithmic)", "Requests answered, %")
    return Figure("Distribution of latency", "Up to the 99th percentile.", svg, _legend(series))


def _legend(series: Sequence[Series]) -> list[tuple[str, str]]:
    return [] if len(series) == 1 else [(one.name, color) for one, color in zip(series, COLORS, strict=False)]


def _point_legend(points: Sequence[Points]) -> list[tuple[str, str]]:
    return [] if len(points) == 1 else [(one.name, one.color) for one in points]
