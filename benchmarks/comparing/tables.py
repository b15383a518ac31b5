"""Tables of the benchmark in Markdown, for its page and for the README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comparing.results import THROUGHPUT, Results
from comparing.rounds import BEST, CACHED, FP32, HTTP, INT8, LIMITS, SINGLE
from comparing.targets import saturation, single, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NONE = "-"
_DECIMAL_BELOW = 10
_ERROR_WIDTH = 60
_WORKLOADS = ("short", "mixed", "paragraphs")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column is text."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float | None, digits: int = 0) -> str:
    """A figure, or a dash where there is none."""
    return _NONE if value is None else f"{value:,.{digits}f}"


def times(value: float | None) -> str:
    """A ratio."""
    return _NONE if value is None else f"{value:.2f}"


def headline(results: Results) -> str:
    """Everyone under the mixed workload, 32 at once."""
    head: tuple[str, ...] = (
        "mixed lengths, 32 at once",
        "texts/s",
        "INT8 of ours: times",
        "FP32 of ours: times",
        "p50 ms",
        "p99 ms",
    )
    head += ("CPU ms a text", "MB", "ready s", "cosine", "Spearman")
    rows = []
    for limit in LIMITS:
        rate = number(results.figure(limit, "mixed", BEST))
        rows.append([f"{limit} (in process, sorted)", rate, *[_NONE] * 7, *_answers(results, limit)])
    rows += [_headline_row(results, side) for side in (INT8, HTTP, FP32, *results.peers)]
    return table(head, rows)


def _headline_row(results: Results, side: str) -> list[str]:
    def median(figure: str) -> float | None:
        return results.figure(side, "mixed", "closed:32", figure)

    about = results.sides.get(side, {})
    if "error" in about:
        return [results.title(side), about["error"].splitlines()[0][:_ERROR_WIDTH].replace("|", "/"), *[_NONE] * 9]
    is_ours = side in {INT8, FP32, HTTP}
    ratios = [None if is_ours else results.against(ours, side, "mixed", "closed:32") for ours in (INT8, FP32)]
    return [
        results.title(side),
        number(median(THROUGHPUT)),
        *map(times, ratios),
        number(median("p50_ms")),
        number(median("p99_ms")),
        number(median("cpu_ms"), 1),
        number(about.get("memory_mb")),
        number(about.get("ready_s"), 1),
        *_answers(results, side),
    ]


def _answers(results: Results, side: str) -> list[str]:
    answers = results.sides.get(side, {}).get("answers", {})
    return [number(answers.get("mean_cosine"), 4), number(answers.get("spearman"), 4)]


def limits(results: Results) -> str:
    """Ours against the same engine in process."""
    head: tuple[str, ...] = ("", "limit, texts/s", "batch", "served, 32 at once", "64 at once", "best share")
    head += ("limit, one text, p50 ms", "served", "times")
    rows = []
    for limit, side in LIMITS.items():
        for workload in _WORKLOADS:
            served = [results.figure(side, workload, load) for load in ("closed:32", "closed:64")]
            rows.append(
                [
                    f"{side.removeprefix('ours, ')}, {workload}",
                    number(results.figure(limit, workload, BEST)),
                    number(results.figure(limit, workload, BEST, "batch")),
                    *map(number, served),
                    times(saturation(results, side, workload)),
                    number(results.figure(limit, workload, SINGLE, "p50_ms"), 2),
                    number(results.figure(side, workload, "closed:1", "p50_ms"), 2),
                    times(single(results, side, workload)),
                ]
            )
    return table(head, rows)


def promises(results: Results) -> str:
    """The targets."""
    rows = [
        [
            target.what,
            f"{'at most' if target.most else 'at least'} {target.bound:g}",
            times(target.value),
            target.verdict,
        ]
        for target in targets(results)
    ]
    return table(("target", "", "measured", ""), rows)


def by_load(results: Results, workload: str, loads: Sequence[str], sides: Sequence[str]) -> str:
    """Throughput and latency of each side under each load."""
    head: tuple[str, ...] = ("", *(load.replace("closed:", "").replace("poisson:", "") for load in loads))

    def cell(side: str, load: str) -> str:
        rate = results.figure(side, workload, load)
        if rate is None:
            return _NONE
        p50, p99 = (results.figure(side, workload, load, figure) for figure in ("p50_ms", "p99_ms"))
        return f"{number(rate)} · {_ms(p50)} · {_ms(p99)}"

    rows = [[results.title(side), *(cell(side, load) for load in loads)] for side in sides]
    return table(head, [row for row in rows if any(entry != _NONE for entry in row[1:])])


def at_32(results: Results) -> str:
    """Every workload, 32 at once."""
    loads = ("short", "mixed", "paragraphs", "repeated")

    def cells(side: str) -> list[str]:
        return [number(results.figure(side, workload, "closed:32")) for workload in loads]

    rows = [[results.title(side), *cells(side)] for side in (INT8, CACHED, FP32, *results.peers)]
    return table(("texts/s, 32 at once", *loads), [row for row in rows if any(entry != _NONE for entry in row[1:])])


def arithmetic(results: Results) -> str:
    """What share of the machine's peak the limit reaches."""
    peaks: dict[str, float] = results.document["peaks"]
    giga = results.document["operations_of_mixed_text"] / 1e9
    rows = [[f"{name}, a product of 512 x 2048 x 2048", number(value), _NONE] for name, value in peaks.items()]
    for limit, kind in zip(LIMITS, ("INT8", "FP32"), strict=True):
        rate = results.figure(limit, "mixed", BEST)
        if rate is not None:
            share = giga * rate / peaks[f"ONNX Runtime, {kind}"]
            rows.append([f"{limit}, mixed: its products", number(giga * rate), f"{share:.0%}"])
    return table(("10^9 operations a second", "", "of ONNX Runtime's peak"), rows)


def profiles(results: Results) -> str:
    """Where the time of a request goes."""
    columns = ("latency_ms", "queue_ms", "compute_ms", "around_ms")
    found = {
        f"{side}, {count} at once": parts
        for side, counts in results.document["profile"].items()
        for count, parts in counts.items()
    }
    steps = sorted({name for parts in found.values() for name in parts if name.endswith("_ms")} - set(columns))
    head: tuple[str, ...] = ("ms of a request, mean", "client sees", "in queues", "in models", "around")
    head += (*(f"{step.removesuffix('_ms')}, a row" for step in steps), "rows a call", "padding")
    rows = [
        [
            title,
            *(number(parts.get(name), 2) for name in (*columns, *steps)),
            number(parts["rows"], 1),
            f"{parts['padding']:.0%}",
        ]
        for title, parts in found.items()
    ]
    return table(head, rows)


def peers(results: Results) -> str:
    """How each peer was set up."""
    lines = []
    for name in results.peers:
        about = results.sides[name]
        versions = ", ".join(f"{package} {version}" for package, version in about.get("versions", {}).items())
        lines.append(f"- **{about['title']}**: {about['settings']}. {versions}".rstrip())
        if "error" in about:
            lines += ["", *(f"      {line}" for line in about["error"].splitlines()), ""]
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.1f}" if value < _DECIMAL_BELOW else f"{value:,.0f}"


_BUILDS = {
    "cold": "cold build, with the gates of accuracy and speed",
    "unchanged": "second build, nothing changed: every action a hit, no torch",
    "serving changed": "only `serving:` changed: configurations written, nothing exported or compiled",
}


def builds(document: Mapping[str, Any]) -> str:
    """How long a build takes.

    Args:
        document: what ``build.py`` wrote.
    """
    rows = [
        [
            _BUILDS[run["case"]],
            number(run["wall_s"], 2 if run["wall_s"] < _DECIMAL_BELOW else 0) + " s",
            f"{number(run['peak_mb'])} MB",
        ]
        for run in document["runs"]
    ]
    title = f"targets {' and '.join(document['targets'])}, medians of {document['rounds']} rounds"
    return table((title, "wall", "peak memory"), rows)


def readme_tables(document: Mapping[str, Any]) -> dict[str, str]:
    """What the README shows, by the name of its markers.

    Args:
        document: all benchmarks' results.
    """
    results = Results(document["serving"])
    found = {"limits": limits(results), "peers": headline(results), "targets": promises(results)}
    if "build" in document:
        found["builds"] = builds(document["build"])
    return found
