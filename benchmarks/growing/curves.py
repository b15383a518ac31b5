"""Figures over a growing quantity: medians of rounds, and the straight line through them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Figures = dict[str, float]
"""Measured at one point, by name."""


@dataclass(frozen=True)
class Line:
    """``at_zero + slope * x``, fitted by least squares.

    Attributes:
        explained: share of the variance that the line explains; 1 is a straight line.
    """

    at_zero: float
    slope: float
    explained: float


@dataclass(frozen=True)
class Curve:
    """Figures over one growing quantity.

    Attributes:
        name: of the curve, as on the command line: ``length``.
        x: what grows, with its unit.
        points: by the quantity, ascending, the median of each figure.
        spread: likewise, the lowest and the highest of the rounds.
        rounds: how many were measured.
    """

    name: str
    x: str
    points: dict[float, Figures]
    spread: dict[float, dict[str, tuple[float, float]]]
    rounds: int

    @classmethod
    def of_rounds(cls, name: str, x: str, rounds: Sequence[Mapping[float, Figures]]) -> Curve:
        """Point by point and figure by figure the median; every round measured the same ones."""
        points: dict[float, Figures] = {}
        spread: dict[float, dict[str, tuple[float, float]]] = {}
        for place in sorted(rounds[0]):
            every = {figure: [found[place][figure] for found in rounds] for figure in rounds[0][place]}
            points[place] = {figure: statistics.median(values) for figure, values in every.items()}
            spread[place] = {figure: (min(values), max(values)) for figure, values in every.items()}
        return cls(name, x, points, spread, len(rounds))

    @property
    def xs(self) -> list[float]:
        """The quantity at each point."""
        return list(self.points)

    @property
    def figures(self) -> list[str]:
        """The names of what was measured."""
        return list(next(iter(self.points.values())))

    def values(self, figure: str) -> list[float]:
        """One figure at every point."""
        return [point[figure] for point in self.points.values()]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        points = [
            {"x": x, **{figure: [value, *self.spread[x][figure]] for figure, value in figures.items()}}
            for x, figures in self.points.items()
        ]
        return {"name": self.name, "x": self.x, "rounds": self.rounds, "median_lowest_highest": points}


def line_through(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """Fit a straight line.

    Raises:
        ValueError: there are fewer than two places.
    """
    if len(set(xs)) < 2:  # noqa: PLR2004  a line's two points
        raise ValueError(f"a line needs two places, not {len(set(xs))}")
    slope, at_zero = np.polyfit(xs, ys, 1)
    off, whole = float(np.sum((np.polyval((slope, at_zero), xs) - ys) ** 2)), float(np.sum((ys - np.mean(ys)) ** 2))
    return Line(float(at_zero), float(slope), 1.0 if whole == 0 else 1 - off / whole)
