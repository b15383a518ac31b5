"""Each curve as a picture: its figures in panels side by side, lines through medians, rounds as a band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonpack.reports.figures import COLORS, SOFT, drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from growing.curves import Curve

_PANEL_WIDTH, _HEIGHT = 3.3, 2.7
_STEPS = (1, 2, 5)
_BAND = 0.15


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what the lines have in common, with the unit.
        figures: of the curve, drawn as lines.
        labels: of the lines; none for a single one.
        is_log: whether the figures grow by factors.
        is_straight: whether the quantity grows by amounts, so that a cost of each one more is a straight line.
    """

    title: str
    figures: tuple[str, ...]
    labels: tuple[str, ...] = ()
    is_log: bool = False
    is_straight: bool = False


def svg_from_curve(curve: Curve, panels: Sequence[Panel]) -> str:
    """Draw a curve.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    with drawing(f"growth-{curve.name}", _PANEL_WIDTH * len(panels), _HEIGHT) as drawn:
        for axis, panel in zip(drawn.figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axis, curve, panel)
    return drawn.svg


def _draw(axis: Any, curve: Curve, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for place, figure in enumerate(panel.figures):
        color = COLORS[place % len(COLORS)]
        label = panel.labels[place] if panel.labels else None
        low, high = zip(*(curve.spread[x][figure] for x in curve.xs), strict=True)
        axis.fill_between(curve.xs, low, high, color=color, alpha=_BAND, linewidth=0)
        axis.plot(curve.xs, curve.values(figure), color=color, marker="o", markersize=3.5, linewidth=1.6, label=label)
    axis.set_title(panel.title)
    axis.set_xlabel(curve.x, color=SOFT)
    if panel.is_straight:
        axis.set_xlim(left=0)
    else:
        _by_factors(axis.xaxis, curve.xs)
    if panel.is_log:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=_STEPS))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(bottom=0)
    if panel.labels:
        axis.legend(fontsize=8)


def _by_factors(axis: Any, xs: Sequence[float]) -> None:
    """A mark at every point that was measured, at distances by its factor."""
    axis.axes.set_xscale("log")
    axis.set_ticks(xs, [f"{x:g}" for x in xs])
    axis.axes.minorticks_off()
