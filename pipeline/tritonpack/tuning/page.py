"""The page of a search: throughput against latency, and every trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.reports.figures import COLORS, INK, SOFT, drawing
from tritonpack.reports.page import page_from_template
from tritonpack.tuning.confirm import median_point
from tritonpack.tuning.evidence import reason_of
from tritonpack.tuning.measure import best_of
from tritonpack.tuning.study import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tritonpack.tuning.measure import Point
    from tritonpack.tuning.study import Trial
    from tritonpack.tuning.tune import Tuned

_TEMPLATE = Path(__file__).with_name("tuned.html.j2")
_HINT = "pip install 'tritonpack[tune]'"
_WIDTH, _HEIGHT = 9.6, 5.0
_US_PER_MS = 1000
_OWN, _FOUND, _BREAKS = COLORS[1], COLORS[0], COLORS[4]


def html_from_tuned(tuned: Tuned) -> str:
    """Draw the page.

    Raises:
        MissingExtraError: jinja2 or matplotlib isn't installed.
    """
    confirmation = tuned.confirmation
    return page_from_template(
        _TEMPLATE,
        filters={"ms": lambda microseconds: f"{microseconds / _US_PER_MS:,.1f}"},
        hint=_HINT,
        tuned=tuned,
        reason=reason_of(tuned),
        confirmed=None
        if confirmation is None
        else {"own": median_point(confirmation.own), "found": median_point(confirmation.found)},
        plot=pareto_svg(tuned),
        ranked=sorted(tuned.trials, key=lambda trial: -trial.value),
        statistic=tuned.plan.slo.measure,
    )


def longest(trial: Trial) -> list[Point]:
    """Of each load the longest measurement, by requests in flight."""
    points = {point.concurrency: point for point in sorted(trial.points, key=lambda point: point.duration_s)}
    return [points[concurrency] for concurrency in sorted(points)]


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (throughput, latency) those that no other beats in both, from the slowest to the fastest.

    Args:
        points: in any order.
    """
    front: list[tuple[float, float]] = []
    for throughput, latency in sorted(points, key=lambda point: (-point[0], point[1])):
        if not front or latency < front[-1][1]:
            front.append((throughput, latency))
    return front[::-1]


def pareto_svg(tuned: Tuned) -> str:
    """Throughput against the objective's latency: every load of every trial, their front, and the limit."""
    statistic = tuned.plan.slo.measure
    with drawing("pareto", _WIDTH, _HEIGHT) as drawn:
        axis = drawn.figure.subplots()
        others = [trial for trial in tuned.trials if trial is not tuned.own and trial is not tuned.found]
        for outcome, face, text in (
            (Outcome.PRUNED, "none", "given up early"),
            (Outcome.COMPLETE, SOFT, "measured to the end"),
        ):
            spots = [spot for trial in others if trial.outcome is outcome for spot in _spots(longest(trial), statistic)]
            if spots:
                axis.scatter(
                    *zip(*spots, strict=True), s=16, facecolors=face, edgecolors=SOFT, linewidths=0.8, alpha=0.6,
                    label=text,
                )  # fmt: skip
        front = pareto_front(spot for trial in tuned.trials for spot in _spots(longest(trial), statistic))
        if front:
            axis.plot(
                *zip(*front, strict=True),
                color=INK,
                linewidth=1,
                linestyle=":",
                drawstyle="steps-pre",
                label="front of all trials",
            )
        _draw_trial(axis, tuned.own, statistic, _OWN, "the recipe's own settings")
        if tuned.found is not None:
            _draw_trial(axis, tuned.found, statistic, _FOUND, f"trial {tuned.found.number}")
        _draw_limit(axis, tuned.plan.slo.limit_us / _US_PER_MS, str(tuned.plan.slo))
        axis.set_yscale("log")
        _plain_ticks(axis)
        axis.set_xlim(left=0)
        axis.set_xlabel("Requests per second")
        axis.set_ylabel(f"Latency, {statistic}, ms")
        drawn.figure.legend(loc="outside upper left", ncols=5, fontsize=8)
    return drawn.svg


def _spots(points: Sequence[Point], statistic: str) -> list[tuple[float, float]]:
    return [(point.throughput_per_s, point.latency_us[statistic] / _US_PER_MS) for point in points]


def _draw_trial(axis: Any, trial: Trial, statistic: str, color: str, text: str) -> None:
    """A trial's loads as a line with the requests in flight, its best load marked."""
    points = longest(trial)
    if not points:
        return
    spots = _spots(points, statistic)
    axis.plot(*zip(*spots, strict=True), color=color, linewidth=1.6, marker="o", markersize=4, label=text)
    for point, spot in zip(points, spots, strict=True):
        axis.annotate(str(point.concurrency), spot, textcoords="offset points", xytext=(5, -9), fontsize=7, color=color)
    best = trial.best or best_of(points)
    (spot,) = _spots([best], statistic)
    axis.plot(*spot, color=color, marker="*", markersize=14, markeredgecolor="white", markeredgewidth=0.8)


def _draw_limit(axis: Any, limit_ms: float, text: str) -> None:
    axis.axhline(limit_ms, color=_BREAKS, linewidth=1.2, linestyle="--")
    axis.annotate(
        text, (0, limit_ms), xycoords=("axes fraction", "data"), xytext=(4, 4), textcoords="offset points",
        fontsize=8, color=_BREAKS,
    )  # fmt: skip


def _plain_ticks(axis: Any) -> None:
    """A few ticks in each power of ten, written out."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_locator(NullLocator())
