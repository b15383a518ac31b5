"""The page of a GPU's figures, its tables and its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelerated.graphs import PRECISIONS
from tritonpack.reports.figures import COLORS, SOFT, drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accelerated.results import Column, Results

NAMES = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8"}
_PANEL_WIDTH, _HEIGHT = 3.4, 2.9
_DRAWN_LENGTH = 128
_STEPS = (1, 2, 5)
_WHOLE = 100


def page(results: Results, picture: str) -> str:
    """Write the page in Markdown.

    Args:
        results: what was measured.
        picture: of `svg_from_results`, from the page.
    """
    rounds = f"{results.rounds} round{'s' if results.rounds > 1 else ''}"
    length = drawn_length(results)
    lines = [
        f"# {results.device}",
        "",
        f"The model of the recipe {results.model} on this device, in process. Written by `make bench-gpu`; not by",
        "hand. A call takes arrays from the CPU's memory and ends when the outputs are there again, so copies both",
        "ways are in the figures. Rows have no padding. Every backend is given the same exported graph or its PyTorch",
        f"module, and rows of any length and batch up to the greatest; figures are medians over {rounds}, in which",
        "the backends take turns. FP32 is without TF32 in PyTorch and ONNX Runtime; TensorRT may use it, as it does by",
        "default. PyTorch is compiled once for all shapes. INT8 is every product with weights, calibrated on short",
        "English texts; the cosine says what that costs.",
        "",
        "## What was executed",
        "",
        *_table(
            ["backend", "precision", "load and compile, s", "least cosine to PyTorch FP32", "or why not"],
            [_loaded(column) for column in results.columns],
        ),
        "",
    ]
    if any(not column.why for column in results.columns):
        lines += [
            "## Texts a second, best batch",
            "",
            *_table(
                ["backend", "precision", *(f"{length} tokens" for length in results.lengths)],
                [_best_row(results, column) for column in results.columns if not column.why],
            ),
            "",
            f"![Texts a second over the batch, rows of {length} tokens]({picture})",
            "",
        ]
    for precision in PRECISIONS:
        if columns := results.of(precision):
            lines += _chapter(results, precision, columns)
    told = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    return "\n".join([*lines, f"Host: {results.machine}.", f"Versions: {told}.", ""])


def _chapter(results: Results, precision: str, columns: Sequence[Column]) -> list[str]:
    lines = [f"## {NAMES[precision]}: milliseconds a call (texts a second)", ""]
    heads = ["length", "batch", *(column.backend for column in columns)]
    rows = [
        [f"{length}", f"{batch}", *(_call(column, (batch, length)) for column in columns)]
        for length in results.lengths
        for batch in results.batches
    ]
    failures = [
        f"- {column.backend}, {batch} rows of {length}: {why}"
        for column in columns
        for (batch, length), why in column.failures.items()
    ]
    return [*lines, *_table(heads, rows), "", *failures, *([""] if failures else [])]


def _loaded(column: Column) -> list[str]:
    measured = ["", "", column.why] if column.why else [f"{column.load_s:.1f}", f"{column.cosine:.5f}", ""]
    return [column.backend, NAMES[column.precision], *measured]


def _best_row(results: Results, column: Column) -> list[str]:
    rates = (column.best_rate(length) for length in results.lengths)
    return [column.backend, NAMES[column.precision], *("" if rate is None else _number(rate) for rate in rates)]


def _call(column: Column, shape: tuple[int, int]) -> str:
    rate = column.rate(shape)
    return "" if rate is None else f"{column.milliseconds[shape]:.3g} ({_number(rate)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def drawn_length(results: Results) -> int:
    """The length in the picture: 128, or the greatest below it."""
    return max((length for length in results.lengths if length <= _DRAWN_LENGTH), default=results.lengths[0])


def svg_from_results(results: Results) -> str:
    """Draw texts a second over the batch, a panel a precision, a line a backend.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    executed = [precision for precision in PRECISIONS if results.of(precision)]
    backends = list(dict.fromkeys(column.backend for column in results.columns))
    length = drawn_length(results)
    with drawing("benchmarks-gpu", _PANEL_WIDTH * len(executed), _HEIGHT) as drawn:
        panels = drawn.figure.subplots(1, len(executed), sharey=True, squeeze=False)[0]
        for axis, precision in zip(panels, executed, strict=True):
            for column in results.of(precision):
                shapes = [shape for shape in column.milliseconds if shape[1] == length]
                color = COLORS[backends.index(column.backend) % len(COLORS)]
                rates = [column.rate(shape) for shape in shapes]
                axis.plot([batch for batch, _ in shapes], rates, color=color, marker="o", markersize=3.5, linewidth=1.6)
            _finish(axis, results, f"{NAMES[precision]}, {length} tokens: texts a second")
        drawn.figure.legend(handles=[_line(backends, name) for name in backends], loc="outside lower center", ncols=5)
    return drawn.svg


def _finish(axis: Any, results: Results, title: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_title(title)
    axis.set_xlabel("rows of a call", color=SOFT)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(results.batches, [f"{batch}" for batch in results.batches])
    axis.yaxis.set_major_locator(LogLocator(subs=_STEPS))
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_locator(NullLocator())


def _line(backends: Sequence[str], name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=COLORS[backends.index(name) % len(COLORS)], marker="o", markersize=3.5, label=name)
