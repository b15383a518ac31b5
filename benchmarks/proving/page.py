"""``docs/clients.md``, from the JSON beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEAD = """\
# The client libraries, measured

What the libraries cost beside tritonclient, how much memory a long stream takes, and what becomes of calls when
connections break and the server is killed. Written by `make bench-clients`; not by hand. The figures in full are in
[clients.json](clients.json).
"""
_THROUGHPUT = """\
One text a request to the model `hash` of `clients/conformance`, which takes next to no time, {concurrency} requests in
flight, each side in a process of its own on the server's machine, by turns in {rounds} rounds of {seconds:g} s, another
one first each round. Figures are medians over the rounds, the ratio is the median of each round's. *CPU* is the
client's. tritonclient is used as its documentation shows, with an answer's array read; *infer* of ours does the same,
*embed* begins with texts. What a client takes on such a machine the server misses, so a real model, which takes longer,
brings all ratios nearer to 1.
"""
_BULK = """\
The vectors of {texts:,} texts, from the same model with small batches and with large ones, by turns in {rounds} rounds.
The loops are written by hand with tritonclient and send full batches in the texts' order. `embed` has 8 requests in
flight, sorts the texts by length, which a model that pads gains from and this one doesn't, and puts the vectors in
order again.
"""
_MEMORY = """\
`iter_embed` over texts that are made as they are asked for, in a process of its own; every thousandth vector is
compared with its formula. *before* is the process with its packages.
"""
_CHAOS = """\
{requests:,} calls, half of them through `Client` and threads, half through `AsyncClient`, over proxies that reset 5% of
the connections, at once or after 600 bytes of answers, and delay 5% of them by 10 to 40 ms each way; a client lives for
a hundred calls. Meanwhile the server is killed (SIGKILL) with all its processes and started anew; kills: {kills}. The
calls: vectors of one to nine texts, large ones among them, with a deadline of 5 s; one in ten has 50 ms; one in ten
isn't tried again and is counted by the server. Every fourth client sends large tensors through shared memory.
{connections:,} connections, {resets} resets, {again} attempts that failed and were followed by another,
{took_s:.0f} s.
"""


def page(document: Mapping[str, Any]) -> str:
    """Write the page of the parts that the document holds."""
    sections = {"throughput": _throughput, "bulk": _bulk, "memory": _memory, "chaos": _chaos}
    parts = [_HEAD, _where(document), *(write(document[name]) for name, write in sections.items() if name in document)]
    return "\n".join(parts).rstrip() + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; all columns but the first are figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _where(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, {machine['system']}"
    return f"{document['date']}, {where}, Python {machine['python']}; {versions}.\n"


def _throughput(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            f"{side['per_s']:,.0f}",
            f"{side['ratio']:.2f}" if side["against"] else "",
            f"{side['p50_ms']:.2f}",
            f"{side['p99_ms']:.2f}",
            f"{side['cpu_us']:.0f}",
        ]
        for name, side in found["sides"].items()
    ]
    header = ["", "requests/s", "to tritonclient", "p50 ms", "p99 ms", "CPU µs/request"]
    return f"## Throughput\n\n{_THROUGHPUT.format(**found)}\n{table(header, rows)}"


def _bulk(found: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{name}, batches of {one['batch']}",
            f"{one['medians'][name]:.2f}",
            f"{one['texts'] / one['medians'][name]:,.0f}",
            f"{ratio:.2f}",
        ]
        for one in found.values()
        for name, ratio in one["to_the_loop"].items()
    ]
    header = ["", "seconds", "texts/s", "times as fast as a loop"]
    return f"## Many texts\n\n{_BULK.format(**next(iter(found.values())))}\n{table(header, rows)}"


def _memory(found: Mapping[str, Any]) -> str:
    rows = [
        [name, f"{one['texts']:,}", f"{one['before_mb']:.0f}", f"{one['peak_mb']:.0f}", f"{one['seconds']:.0f}"]
        for name, one in found.items()
    ]
    header = ["", "texts", "MB before", "MB at most", "seconds"]
    return f"## Memory\n\n{_MEMORY}\n{table(header, rows)}"


def _chaos(found: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['client']}: {row['outcome']}",
            f"{row['count']:,}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.0f}",
            f"{row['longest_s']:.2f}",
        ]
        for row in found["outcomes"]
    ]
    text = _CHAOS.format(**found, again=sum(found["tried_again"].values()))
    bad = found["must_not_be"]
    left = found["left_behind"]
    counts = [
        ["wrong answers", len(bad["wrong"])],
        ["calls that ended after their deadline and 1.5 s", len(bad["overdue"])],
        ["errors that aren't the client's own", len(bad["unmapped"])],
        [f"executed twice, of {found['counted']:,} that the last server counted", len(bad["twice"])],
        *([f"{name} left behind", number] for name, number in left.items()),
    ]
    outcomes = table(["outcome", "calls", "p50 ms", "p99 ms", "longest s"], rows)
    return f"## Chaos\n\n{text}\n{outcomes}\n" + table(["what must be 0", ""], [[name, str(n)] for name, n in counts])
