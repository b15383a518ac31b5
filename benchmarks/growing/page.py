"""The page of growth: what each curve says in a sentence, its picture and its table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from growing.curves import line_through
from growing.pictures import Panel
from growing.served import MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from growing.curves import Curve
    from tritonpack.core.machine import Machine

_NEARLY_ALL = 0.95


@dataclass(frozen=True)
class Chapter:
    """How a curve is told.

    Attributes:
        title: of the chapter.
        how: how it was measured.
        finding: what the curve says.
        panels: of its picture.
    """

    title: str
    how: str
    finding: Callable[[Curve], str]
    panels: tuple[Panel, ...]


def _length(curve: Curve) -> str:
    alone, tokens = curve.values("p50 alone, ms"), curve.values(f"tokens/s, {MANY} in flight")
    best = max(range(len(tokens)), key=tokens.__getitem__)
    return (
        f"{curve.xs[-1] / curve.xs[0]:g} times the tokens take {alone[-1] / alone[0]:.1f} times as long: "
        f"{alone[0]:.1f} ms at {curve.xs[0]:g}, {alone[-1]:.1f} ms at {curve.xs[-1]:g}. Most tokens a second "
        f"go through at a length of {curve.xs[best]:g} ({tokens[best]:,.0f}); at {curve.xs[-1]:g} it is "
        f"{tokens[-1] / tokens[best]:.0%} of that."
    )


def _rows(curve: Curve) -> str:
    rates = curve.values("texts/s")
    return (
        f"One text a request gives {rates[0]:,.0f} texts a second with one request in flight; the best is "
        f"{max(rates):,.0f}, {max(rates) / rates[0]:.1f} times that, and {_enough(curve, rates):g} texts a request "
        "reach 95% of it."
    )


def _concurrency(curve: Curve) -> str:
    rates, waits = curve.values("texts/s"), curve.values("p99, ms")
    enough = _enough(curve, rates)
    return (
        f"The best throughput is {max(rates):,.0f} texts a second, {max(rates) / rates[0]:.1f} times that of one "
        f"request in flight. {enough:g} in flight reach 95% of it, with a p99 of {curve.points[enough]['p99, ms']:.0f} "
        f"ms; at {curve.xs[-1]:g} in flight the p99 is {waits[-1]:.0f} ms."
    )


def _models(curve: Curve) -> str:
    one, together = curve.values("one asked, texts/s"), curve.values("all asked in turn, texts/s")
    start = line_through(curve.xs, curve.values("start to ready, s"))
    memory = line_through(curve.xs, curve.values("memory when ready, MB"))
    return (
        f"A model more takes {start.slope:.2f} s of the start and {memory.slope:.0f} MB of memory (straight lines: "
        f"they explain {start.explained:.0%} and {memory.explained:.0%}). One model asked while {curve.xs[-1] - 1:g} "
        f"others are idle keeps {one[-1] / one[0]:.0%} of its throughput. {curve.xs[-1]:g} asked in turn give together "
        f"{together[-1] / together[0]:.0%} of what one alone gives: {MANY} requests in flight are then "
        f"{MANY / curve.xs[-1]:.2g} a model, so batches are small, and the threads of all models share the cores."
    )


def _weights(curve: Curve) -> str:
    start = line_through(curve.xs, curve.values("start to ready, s"))
    memory = line_through(curve.xs, curve.values("memory when ready, MB"))
    return (
        f"100 MB of weights take {100 * start.slope:.2f} s of the start and {100 * memory.slope:.0f} MB of memory, "
        f"beside {start.at_zero:.1f} s and {memory.at_zero:.0f} MB of the server itself (straight lines, which explain "
        f"{start.explained:.0%} and {memory.explained:.0%})."
    )


def _enough(curve: Curve, rates: Sequence[float]) -> float:
    """The first point that gives nearly all."""
    return next(x for x, rate in zip(curve.xs, rates, strict=True) if rate >= _NEARLY_ALL * max(rates))


_START = Panel("Start to ready, s", ("start to ready, s",), is_straight=True)
_MEMORY = Panel(
    "Memory, MB", ("memory when ready, MB", "memory after load, MB"), ("when ready", "after load"), is_straight=True
)
CHAPTERS = {
    "length": Chapter(
        "Length of a text",
        f"One text a request, all of one length in tokens; one request in flight, then {MANY}.",
        _length,
        (
            Panel("One in flight: p50, ms", ("p50 alone, ms",)),
            Panel(f"{MANY} in flight: texts a second", (f"texts/s, {MANY} in flight",), is_log=True),
            Panel(f"{MANY} in flight: tokens a second", (f"tokens/s, {MANY} in flight",)),
        ),
    ),
    "batch": Chapter(
        "Texts in a request",
        "Texts of log-normal length (median 16 tokens), more and more in a request, one request in flight.",
        _rows,
        (Panel("Texts a second", ("texts/s",)), Panel("p50 of a request, ms", ("p50, ms",), is_log=True)),
    ),
    "concurrency": Chapter(
        "Requests in flight",
        "The same texts, one a request.",
        _concurrency,
        (
            Panel("Texts a second", ("texts/s",)),
            Panel("Latency, ms", ("p50, ms", "p99, ms"), ("p50", "p99"), is_log=True),
        ),
    ),
    "models": Chapter(
        "Models in a repository",
        "Copies of the same ensemble under names of their own, all loaded; the texts as above, "
        f"{MANY} requests in flight, to all models in turn or to one. A change is a model's new configuration, written "
        "so that a reader sees the old repository or the new one.",
        _models,
        (
            _START,
            _MEMORY,
            Panel(
                "Texts a second",
                ("one asked, texts/s", "all asked in turn, texts/s", "each of all, texts/s"),
                ("one asked", "all asked", "each of all"),
                is_log=True,
            ),
        ),
    ),
    "weights": Chapter(
        "Size of a repository",
        "One ONNX model of products of 1024 x 1024 in FP32, of more and more weights; 8 rows a request, 4 in flight.",
        _weights,
        (
            _START,
            _MEMORY,
            Panel("Rows a second", ("rows/s",), is_log=True),
        ),
    ),
}


def page(curves: Sequence[Curve], machine: Machine, versions: Mapping[str, str], model: str, pictures: str) -> str:
    """Write the page in Markdown.

    Args:
        curves: what was measured.
        machine: where.
        versions: by package.
        model: the ensemble that was served.
        pictures: the folder of the pictures, from the page; ``<curve>.svg`` each.
    """
    lines = [
        "# How cost grows",
        "",
        "What a longer text, a larger request, more requests at once, more models and more bytes cost, measured",
        f"through gRPC against the embedded server with `{model}`. Written by `make growth`; not by hand. Figures are",
        "medians of rounds that go through all points one after another; the bands in the pictures reach from the",
        "lowest round to the highest. The generator shares the cores with the server. Memory is of the server and the",
        "processes below it, with shared pages counted once.",
        "",
    ]
    for curve in curves:
        chapter = CHAPTERS[curve.name]
        lines += [
            f"## {chapter.title}",
            "",
            f"{chapter.how} Medians of {curve.rounds} rounds.",
            "",
            chapter.finding(curve),
            "",
            f"![{chapter.title}: {', '.join(panel.title for panel in chapter.panels)}]({pictures}/{curve.name}.svg)",
            "",
            *_table(curve),
            "",
        ]
    told = ", ".join(f"{name} {number}" for name, number in {**versions, "Python": machine.python}.items())
    lines += [
        f"Machine: {machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}.",
        f"Versions: {told}.",
        "",
    ]
    return "\n".join(lines)


def _table(curve: Curve) -> list[str]:
    columns = [curve.x, *curve.figures]
    rows = [[f"{x:g}", *map(_rounded, point.values())] for x, point in curve.points.items()]
    return [f"| {' | '.join(row)} |" for row in (columns, ["---:"] * len(columns), *rows)]


def _rounded(value: float) -> str:
    """Three digits are more than a noisy machine gives."""
    return f"{float(f'{value:.3g}'):,.10g}"
