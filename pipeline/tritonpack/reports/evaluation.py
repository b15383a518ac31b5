"""The page of an evaluation: targets beside FP32, with intervals, curves and confusion matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tritonpack.reports.figures import COLORS, SOFT, drawing
from tritonpack.reports.page import page_from_template
from tritonpack.reports.sensitivity import svg_from_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tritonpack.reports.documents import Evaluation, TargetScore

_TEMPLATE = Path(__file__).with_name("evaluation.html.j2")
_WIDTH, _HALF_WIDTH, _PER_TARGET, _AROUND = 9.0, 5.8, 0.3, 0.85
_SQUARE = 4.4
_MOST_LABELS = 16
"""Labels of a confusion matrix that is shown whole."""
_MOST_CONFUSIONS = 20
_MOST_CURVES = 8


class Plot(NamedTuple):
    """A picture with its heading."""

    title: str
    note: str
    svg: str


def html_from_evaluation(evaluation: Evaluation) -> str:
    """Draw the page.

    Raises:
        MissingExtraError: jinja2 or matplotlib isn't installed.
    """
    return page_from_template(
        _TEMPLATE,
        evaluation=evaluation,
        first=evaluation.targets[0],
        usual=evaluation.metrics[0],
        intervals=[
            _intervals(evaluation.targets, metric, _HALF_WIDTH if place else _WIDTH)
            for place, metric in enumerate(evaluation.metrics)
        ],
        curves=_curves(evaluation.targets),
        curves_left=max(0, max(len(target.score["curves"]) for target in evaluation.targets) - _MOST_CURVES),
        confusions=[(target, confusion_of(target)) for target in evaluation.targets if target.score["confusion"]],
        sensitivity=[
            Plot(label(target), quantized_part(target.layers), svg_from_layers(target.layers))
            for target in evaluation.targets
            if target.layers
        ],
        quantized_part=quantized_part,
        verdict=verdict,
        label=label,
    )


def label(target: TargetScore) -> str:
    """What a target is called in plots and lists."""
    return target.target if target.target == target.precision else f"{target.target} ({target.precision})"


def quantized_part(layers: Sequence[Mapping[str, Any]]) -> str:
    """How much of a graph a search quantized, of the layers that it chose among; empty without any."""
    if not layers:
        return ""
    inside = [layer for layer in layers if layer["quantized"]]
    share = sum(layer["gain"] for layer in inside)
    return f"{len(inside)} of {len(layers)} groups of layers, {share:.0%} of the multiplications"


def verdict(difference: Mapping[str, float | None]) -> str:
    """What the interval of a paired difference says: ``worse``, ``better``, or nothing where it holds 0."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "worse" if high < 0 else "better"


def confusion_of(target: TargetScore) -> dict[str, Any]:
    """A confusion matrix as it is shown.

    Returns:
        Where the labels are few: ``labels``, and ``rows`` of label, total and cells ``(count, share of the row)``.
        Else ``pairs``, the most frequent confusions: expected, answered, count.
    """
    labels, counts = target.score["confusion"]["labels"], target.score["confusion"]["counts"]
    if len(labels) <= _MOST_LABELS:
        rows = [
            (name, sum(row), [(count, count / max(sum(row), 1)) for count in row])
            for name, row in zip(labels, counts, strict=True)
        ]
        return {"labels": labels, "rows": rows}
    pairs = [
        (labels[expected], labels[answered], count)
        for expected, row in enumerate(counts)
        for answered, count in enumerate(row)
        if count and expected != answered
    ]
    return {"pairs": sorted(pairs, key=lambda pair: -pair[2])[:_MOST_CONFUSIONS]}


def _intervals(targets: Sequence[TargetScore], metric: str, width: float) -> Plot:
    """A metric of every target, and its paired difference to FP32, each with its interval."""
    figures = [target.score["metrics"][metric] for target in targets]
    with drawing(f"interval {metric}", width, _AROUND + _PER_TARGET * len(targets)) as drawn:
        left, right = drawn.figure.subplots(1, 2, sharey=True)
        right.axvline(0, color=SOFT, linewidth=1, linestyle="--")
        for axis, measured, title in (
            (left, figures, metric),
            (right, [figure["difference"] for figure in figures], "Difference to FP32"),
        ):
            for place, figure in enumerate(measured):
                _whisker(axis, place, figure, COLORS[place % len(COLORS)])
            axis.set_title(title)
            axis.grid(visible=False, axis="y")
            axis.tick_params(axis="y", length=0)
            axis.locator_params(axis="x", nbins=4)
        left.set_yticks(range(len(targets)), [label(target) for target in targets])
        left.set_ylim(len(targets) - 0.5, -0.5)
    return Plot(
        metric, "With intervals of 95%; the difference is paired: both precisions on the same samples.", drawn.svg
    )


def _whisker(axis: Any, place: int, figure: Mapping[str, float | None], color: str) -> None:
    if figure["value"] is None:
        return
    if figure["low"] is not None and figure["high"] is not None:
        axis.plot([figure["low"], figure["high"]], [place, place], color=color, linewidth=5, alpha=0.3)
    axis.plot([figure["value"]], [place], marker="o", markersize=5, color=color)


def _curves(targets: Sequence[TargetScore]) -> list[Plot]:
    """Curves of one name from all targets in one picture."""
    drawn_of: dict[str, list[tuple[TargetScore, Mapping[str, Any]]]] = {}
    for target in targets:
        for curve in target.score["curves"][:_MOST_CURVES]:
            drawn_of.setdefault(curve["name"], []).append((target, curve))
    plots = []
    for name, lines in drawn_of.items():
        with drawing(f"curve {name}", _SQUARE, _SQUARE) as drawn:
            axis = drawn.figure.subplots()
            for place, (target, curve) in enumerate(lines):
                axis.plot(curve["x"], curve["y"], color=COLORS[place % len(COLORS)], label=label(target), linewidth=1.6)
            axis.set_xlabel(lines[0][1]["x_title"])
            axis.set_ylabel(lines[0][1]["y_title"])
            axis.legend(fontsize=8)
        first = lines[0][1]
        plots.append(Plot(name, f"{first['y_title']} over {first['x_title']}", drawn.svg))
    return plots
