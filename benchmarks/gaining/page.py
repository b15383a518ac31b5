"""``docs/performance.md``: what each change gains, as ratios of figures that were measured by turns."""

from __future__ import annotations

import json
import statistics
from itertools import groupby
from typing import TYPE_CHECKING, Any

from comparing.tables import number, table, times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HEAD = """\
# Performance, change by change

What each part of the serving path gains. Written by `make bench`; not by hand. The figures of each round are in
[benchmarks.json](benchmarks.json), those of the whole server beside its limit and its peers on [their own
page](benchmarks.md).
"""
_METHOD = """\
MiniLM (6 layers of 384), texts of log-normal length (mean 21 tokens), on two threads. All rows of a table are measured
by turns in several rounds; figures are medians, *times* are medians of each round's ratio to the table's first row.
"""
_GRAPHS = """\
Tokens to vectors, without a server and without tokenization. *Sorted*: rows of like length in batches of the best size;
*as they come*: batches of 32 in random order, padded to the longest row where the graph pads. *Cosine* is to the first
row of the page. *Fused*: the attention core is one operator, where that is proved to give the same, and ONNX Runtime is
kept from fusing residuals into norms, which makes them slower. *Flat*: what works on each token by itself runs on the
tokens alone ([ADR 8](adr/0008-token-wise-work-on-the-tokens-alone.md)).
"""
_GAIN = 1.3
_SERVED = """\
One text a request over gRPC, from a generator on the same machine. Each row differs from the first in what it says and
in nothing else.
"""


def page_from_document(path: Path) -> str:
    """Write the page.

    Args:
        path: the JSON document of all benchmarks.
    """
    found = json.loads(path.read_text(encoding="utf-8"))["performance"]
    parts = [_HEAD, _where(found), _METHOD, "## The graph, in process\n", _GRAPHS, _verdict(found["graphs"])]
    for group, forms in groupby(found["graphs"], key=lambda form: form["group"]):
        parts += [f"### {group}\n", _graphs(list(forms)) + "\n"]
    parts += ["## The server\n", _SERVED, _served(found["served"])]
    return "\n".join(parts) + "\n"


def fusion_gain(graphs: Sequence[Mapping[str, Any]]) -> float:
    """How many times as fast the served FP32 graph is as the exported one, each in its best batches."""
    forms = [form for form in graphs if form["group"] == "FP32"]
    return _ratio(forms[-1]["sorted_per_s"], forms[0]["sorted_per_s"])


def _verdict(graphs: Sequence[Mapping[str, Any]]) -> str:
    gain = fusion_gain(graphs)
    verdict = "met" if gain >= _GAIN else f"missed by {1 - gain / _GAIN:.0%}"
    return (
        f"The limit in FP32, sorted: {gain:.2f} times the exported graph's; at least {_GAIN:g} is wanted: {verdict}.\n"
    )


def _where(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, {machine['system']}"
    return f"{found['date']}, {where}, Python {machine['python']}; {versions}; {found['rounds']} rounds.\n"


def _graphs(forms: Sequence[Mapping[str, Any]]) -> str:
    head = ("", "one row, ms", "times as fast", "sorted, rows/s", "times", "as they come, rows/s", "times", "cosine")
    first = forms[0]
    rows = [
        [
            form["name"],
            number(statistics.median(form["single_ms"]), 2),
            times(_ratio(first["single_ms"], form["single_ms"])),
            number(statistics.median(form["sorted_per_s"])),
            times(_ratio(form["sorted_per_s"], first["sorted_per_s"])),
            number(statistics.median(form["random_per_s"])),
            times(_ratio(form["random_per_s"], first["random_per_s"])),
            number(form["cosine"], 4),
        ]
        for form in forms
    ]
    return table(head, rows)


def _served(ways: Sequence[Mapping[str, Any]]) -> str:
    head = ("", "1 at once, p50 ms", "times", "CPU ms", "32 at once, texts/s", "times", "p99 ms", "times", "CPU ms")
    first = ways[0]

    def cells(way: Mapping[str, Any], figure: str, digits: int) -> tuple[str, str]:
        return number(statistics.median(way[figure]), digits), times(_ratio(way[figure], first[figure]))

    rows = [
        [
            way["name"],
            *cells(way, "closed:1 p50_ms", 2),
            number(statistics.median(way["closed:1 cpu_ms"]), 2),
            *cells(way, "closed:32 texts_per_s", 0),
            *cells(way, "closed:32 p99_ms", 0),
            number(statistics.median(way["closed:32 cpu_ms"]), 2),
        ]
        for way in ways
    ]
    return table(head, rows)


def _ratio(values: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, others, strict=True))
