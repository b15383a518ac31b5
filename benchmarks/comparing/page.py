"""``docs/benchmarks.md``, from the JSON beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comparing import tables
from comparing.results import Results
from comparing.rounds import CACHED, FP32, HTTP, INT8

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CLOSED = tuple(f"closed:{count}" for count in (1, 2, 4, 8, 16, 32, 64))
_RATES = tuple(f"poisson:{rate}" for rate in (20, 60, 200, 400))
_HEAD = """\
# Benchmarks

The embedded server beside the same engine in process and beside the Python servers that people use, on one machine in
one run. Written by `make bench`; not by hand. The figures in full are in [benchmarks.json](benchmarks.json).
"""
_METHOD = """\
All sides serve the same weights (all-MiniLM-L6-v2: 6 layers of 384). Sides are asked in turn, load by load, in several
rounds, another one first each round; figures are medians over the rounds, ratios are medians of each round's ratio.
Two servers are never under load at once: a peer's processes are stopped (SIGSTOP) while it isn't asked, but for Ray's,
which is measured in a block of its own beside ours. Each request holds one text. Ours is asked over gRPC, the peers
over HTTP with JSON, which is what they offer; one row is ours over HTTP. Requests are made beforehand and come from a
process of its own, which counts an answer's bytes and decodes none; it shares the machine with the server.

- *limit*: the engine and the tokenizer in this process, no server; all texts sorted by length, in batches of the best
  size. A single text goes through it alone.
- *32 at once*: a closed loop. *At a rate*: an open loop with Poisson arrivals, latency counted from when a request was
  due; a rate above 1.3 times what a side reaches in closed loops isn't asked of it.
- *CPU*: processor time of all the server's processes, a request. *MB*: their memory after all loads, shared pages
  counted once. *ready*: from the start of the process to the first answer, packages already compiled to bytecode.
- *cosine*: mean over 50 news documents (Lee) to FP32 PyTorch's vectors, asked eight at once; *Spearman*: of the
  cosines of 1,225 pairs of them and people's ratings.
- Threads: two for torch and for ONNX Runtime everywhere, and torch's don't spin (`OMP_WAIT_POLICY=PASSIVE`); each
  peer's own batching on, where it has any that works.
"""


def page_from_document(path: Path) -> str:
    """Write the page.

    Args:
        path: the JSON document.
    """
    every = json.loads(path.read_text(encoding="utf-8"))
    results = Results(every["serving"])
    parts = [_HEAD, _where(every["serving"], results), _METHOD, *_sections(results)]
    return "\n".join(parts).rstrip() + "\n"


def _where(document: Mapping[str, Any], results: Results) -> str:
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, {machine['system']}"
    return f"{document['date']}, {where}, Python {machine['python']}; {versions}; {results.round_count()} rounds.\n"


def _sections(results: Results) -> list[str]:
    everyone = (INT8, FP32, *results.peers)
    cell = "Texts a second · p50 ms · p99 ms, with so many requests at once."
    workloads = results.document["workloads"]
    kinds = [
        f"- *{name}*: {about['about']}; {about['mean']:.0f} tokens in the mean, {about['median']:.0f} in the median, "
        f"{about['most']} at most"
        for name, about in workloads.items()
    ]
    sections = {
        "Everyone, at 32 requests at once": tables.headline(results),
        "What must hold": tables.promises(results),
        "Against the limit": tables.limits(results),
        "Workloads": "\n".join(kinds) + "\n\n" + tables.at_32(results),
        "Mixed lengths, closed loop": f"{cell}\n\n" + tables.by_load(results, "mixed", _CLOSED, (*everyone, HTTP)),
        "Short queries, closed loop": f"{cell}\n\n" + tables.by_load(results, "short", _CLOSED, everyone),
        "Paragraphs, closed loop": f"{cell}\n\n" + tables.by_load(results, "paragraphs", _CLOSED, everyone),
        "Repeated queries": f"With and without Triton's response cache. {cell}\n\n"
        + tables.by_load(results, "repeated", ("closed:1", "closed:32"), (CACHED, *everyone)),
        "At a rate": "Mixed lengths; texts that arrive a second, then texts a second · p50 ms · p99 ms.\n\n"
        + tables.by_load(results, "mixed", _RATES, everyone),
        "Where the time goes": tables.profiles(results),
        "The machine's arithmetic": tables.arithmetic(results),
        "How the peers were set up": tables.peers(results),
    }
    return [f"## {title}\n\n{text}\n" for title, text in sections.items()]
