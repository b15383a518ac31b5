"""Plots as inline SVG: a page of some ten kilobytes that needs no network and no script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 16, 46
COLORS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#0891b2", "#ca8a04", "#475569")


@dataclass(frozen=True)
class Series:
    """One line or one layer of bars.

    Attributes:
        values: one for each x; NaN leaves a gap.
        low: ends of error bars, as many as values, or none.
        high: the other ends.
        color: of the layer; empty for the palette's next.
    """

    name: str
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    color: str = ""


def nice_ticks(top: float, count: int = 5) -> list[float]:
    """Round ticks from 0 to at least ``top``, in steps of 1, 2, 2.5 or 5 times a power of ten."""
    if top <= 0 or not math.isfinite(top):
        return [0.0, 1.0]
    raw = top / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [round(step * index, 10) for index in range(math.ceil(top / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks 1, 2, 5 times powers of ten inside [low, high]."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def line_chart(categories: Sequence[str], series: Sequence[Series], x_title: str, y_title: str) -> str:
    """Lines over categories that stand at equal distances, with error bars where a series has them."""
    top = max([*(value for one in series for value in (*one.values, *one.high) if not math.isnan(value)), 0.0])
    ticks = nice_ticks(top)
    x, y = _category_scale(len(categories)), _linear(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x_title, y_title), _y_axis(ticks, y)]
    parts += [_x_label(x(index), label) for index, label in enumerate(categories)]
    for number, one in enumerate(series):
        color = COLORS[number % len(COLORS)]
        parts += [
            f'<line x1="{x(index):.1f}" x2="{x(index):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" class="whisker"'
            f' stroke="{color}"/>'
            for index, (low, high) in enumerate(zip(one.low, one.high, strict=True))
        ]
        points = [(x(index), y(value)) for index, value in enumerate(one.values) if not math.isnan(value)]
        parts.append(_polyline(points, color))
        parts += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{color}"><title>{escape(one.name)}, {x_title.lower()} '
            f"{escape(label)}: {compact(value)}</title></circle>"
            for (px, py), label, value in zip(points, categories, one.values, strict=False)
        ]
    return _svg(parts, f"{y_title} over {x_title}")


def stacked_bars(categories: Sequence[str], series: Sequence[Series], x_title: str, y_title: str) -> str:
    """Bars over categories, one layer for each series."""
    totals = [sum(one.values[index] for one in series) for index in range(len(categories))]
    ticks = nice_ticks(max(totals, default=0.0))
    x, y = _category_scale(len(categories)), _linear(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x_title, y_title), _y_axis(ticks, y)]
    width = min(64.0, (WIDTH - _LEFT - _RIGHT) / max(len(categories), 1) * 0.55)
    for index, label in enumerate(categories):
        parts.append(_x_label(x(index), label))
        base = 0.0
        for number, one in enumerate(series):
            value = one.values[index]
            upper = y(base + value)
            parts.append(
                f'<rect x="{x(index) - width / 2:.1f}" y="{upper:.1f}" width="{width:.1f}" '
                f'height="{y(base) - upper:.1f}" fill="{one.color or COLORS[number % len(COLORS)]}">'
                f"<title>{escape(one.name)}: {compact(value)}</title></rect>"
            )
            base += value
    return _svg(parts, f"{y_title} over {x_title}")


@dataclass(frozen=True)
class Points:
    """Places on two linear axes.

    Attributes:
        places: (x, y), x at least 0.
        color: of the points or the line.
        joined: draw a line through them, in their order; else a mark at each.
    """

    name: str
    places: Sequence[tuple[float, float]]
    color: str
    joined: bool = True


def xy_chart(
    points: Sequence[Points], x_title: str, y_title: str, *, limit: float = math.nan, from_zero: bool = True
) -> str:
    """Lines and marks over a linear axis.

    Args:
        points: at least one place together.
        x_title: names the axis.
        y_title: names the other.
        limit: draw a dashed horizontal line there.
        from_zero: begin the vertical axis at 0; else a little below the least value.
    """
    places = [place for one in points for place in one.places]
    ys = [y for _, y in places] + ([] if math.isnan(limit) else [limit])
    x_ticks = nice_ticks(max(x for x, _ in places))
    least = 0.0 if from_zero else min(ys) - 0.5 * (max(ys) - min(ys)) - 0.01 * abs(min(ys))
    y_ticks = [round(least + tick, 10) for tick in nice_ticks(max(ys) - least)]
    x = _linear(0, x_ticks[-1], _LEFT, WIDTH - _RIGHT)
    y = _linear(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x_title, y_title), _y_axis(y_ticks, y), *(_x_label(x(tick), compact(tick)) for tick in x_ticks)]
    if not math.isnan(limit):
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" class="limit"/>'
        )
    for one in points:
        if one.joined:
            parts.append(_polyline([(x(px), y(py)) for px, py in one.places], one.color))
            continue
        parts += [
            f'<circle cx="{x(px):.1f}" cy="{y(py):.1f}" r="4.5" fill="{one.color}"><title>{escape(one.name)}, '
            f"{escape(x_title)} {compact(px)}: {compact(py)}</title></circle>"
            for px, py in one.places
        ]
    return _svg(parts, f"{y_title} over {x_title}")


def distribution_chart(series: Sequence[Series], x_title: str, y_title: str) -> str:
    """Cumulative distributions over a logarithmic axis.

    Args:
        series: ``values`` are the percentiles 0, 1, ... 100, all above 0.
        x_title: names the values.
        y_title: names the percentiles.
    """
    # The slowest percent is an axis of its own length: it stays in the table.
    shown = [Series(one.name, one.values[:-1]) for one in series]
    low, high = min(one.values[0] for one in shown), max(one.values[-1] for one in shown)
    low, high = low * 0.95, max(high * 1.05, low * 1.1)
    x, y = _log(low, high, _LEFT, WIDTH - _RIGHT), _linear(0, 100, HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x_title, y_title), _y_axis([0, 25, 50, 75, 100], y)]
    for tick in log_ticks(low, high):
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" class="grid"/>')
        parts.append(_x_label(x(tick), compact(tick)))
    for number, one in enumerate(shown):
        points = [(x(value), y(percent)) for percent, value in enumerate(one.values)]
        parts.append(_polyline(points, COLORS[number % len(COLORS)]))
    return _svg(parts, f"{y_title} over {x_title}")


def compact(value: float) -> str:
    """Three significant digits, without an exponent: 0.25, 7.3, 48.4, 303, 1,250."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def change(value: float) -> str:
    """As `compact`, always with a sign: +12.3, -1,250."""
    return f"{'-' if value < 0 else '+'}{compact(abs(value))}"


def _linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _log(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    scale = _linear(math.log(low), math.log(high), start, end)
    return lambda value: scale(math.log(value))


def _category_scale(count: int) -> Callable[[float], float]:
    step = (WIDTH - _LEFT - _RIGHT) / max(count, 1)
    return lambda index: _LEFT + step * (index + 0.5)


def _polyline(points: Sequence[tuple[float, float]], color: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.2" stroke-linejoin="round"/>'


def _y_axis(ticks: Sequence[float], y: Callable[[float], float]) -> str:
    return "".join(
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>'
        f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{compact(tick)}</text>'
        for tick in ticks
    )


def _x_label(x: float, label: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(label)}</text>'


def _frame(x_title: str, y_title: str) -> str:
    middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
    return (
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM}" class="axis"/>'
        f'<text x="{middle_x:.1f}" y="{HEIGHT - 8}" text-anchor="middle" class="title">{escape(x_title)}</text>'
        f'<text transform="translate(14 {middle_y:.1f}) rotate(-90)" text-anchor="middle" class="title">'
        f"{escape(y_title)}</text>"
    )


def _svg(parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">' + "".join(parts) + "</svg>"
