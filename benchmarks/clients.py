"""The client libraries: what they cost, how much memory they take, and what they do when everything breaks.

    python benchmarks/clients.py [--only throughput,bulk,memory,chaos] [--write docs] [--json]

- throughput: `Client` and `AsyncClient` beside tritonclient, the same requests by turns; TypeScript where it is built.
- bulk: `embed` of many texts beside loops that one writes by hand.
- memory: `iter_embed` over a million texts, in a process of its own.
- chaos: calls while connections break and the server is killed (clients/conformance/chaos.py).

Each part's process begins with nothing of the others'. Parts that aren't asked for keep their figures in the JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from comparing.documents import versions_here
from proving.bulk import LOOP
from proving.page import page
from proving.served import CONFORMANCE, served
from proving.throughput import measure
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tritonpack.core.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Report = Callable[[str], None]

PARTS = ("throughput", "bulk", "memory", "chaos")
ROOT = Path(__file__).resolve().parents[1]
_PROVING = Path(__file__).with_name("proving")
_VERSIONS = ("tritonpack", "tritonclient", "grpcio", "numpy")


class _Parts(click.ParamType[tuple[str, ...]]):
    """Names, separated by commas."""

    name = "parts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read ``chaos,memory``."""
        names = tuple(value) if isinstance(value, tuple) else tuple(str(value).split(","))
        if unknown := [name for name in names if name not in PARTS]:
            self.fail(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}", param, ctx)
        return names


def bulk(url: str, count: int, rounds: int, report: Report) -> dict[str, Any]:
    """Many texts, by every way, in small batches and in large ones."""
    return {model: _bulk_of(url, model, count, rounds, report) for model in ("hash", "wide")}


def _bulk_of(url: str, model: str, count: int, rounds: int, report: Report) -> dict[str, Any]:
    report(f"vectors of {count:,} texts of the model {model}")
    found = _program(_PROVING / "bulk.py", url, model, count, rounds)
    loop = found["seconds"][LOOP]
    medians = {name: statistics.median(seconds) for name, seconds in found["seconds"].items()}
    faster = {
        name: statistics.median(before / now for before, now in zip(loop, seconds, strict=True))
        for name, seconds in found["seconds"].items()
    }
    return found | {"medians": medians, "to_the_loop": faster}


def memory(url: str, count: int, report: Report) -> dict[str, Any]:
    """A stream of texts, with either client."""
    found = {}
    for title, kind in (("Client.iter_embed", "sync"), ("AsyncClient.iter_embed", "async")):
        report(f"{title} of {count:,} texts")
        found[title] = _program(_PROVING / "memory.py", url, "wide", count, kind)
    return found


def chaos(requests: int, kills: int, report: Report) -> dict[str, Any]:
    """Broken connections and a server that is killed. A failure is shown, not raised."""
    command = [sys.executable, str(CONFORMANCE / "chaos.py"), "--json", "--progress"]
    command += ["--requests", str(requests), "--kills", str(kills)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = ""
        for line in process.stdout or ():
            if not line.startswith("{"):
                report(f"chaos: {int(line):,} of {requests:,} calls")
    if not line.startswith("{"):
        raise click.ClickException(f"chaos.py ended with {process.returncode}; what it printed stands above")
    document: dict[str, Any] = json.loads(line)
    return document


def _program(path: Path, *arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(path), *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(f"{path.name} ended with {done.returncode}; what it printed stands above")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def keep(found: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write the JSON and the page; parts that weren't measured keep their figures."""
    file = folder / "clients.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    versions = {name: version for name, version in versions_here().items() if name in _VERSIONS}
    where = {"machine": asdict(this_machine()), "versions": versions, "date": time.strftime("%Y-%m-%d")}
    document: dict[str, Any] = before | where | found
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "clients.md").write_text(page(document), encoding="utf-8")
    return document


@click.command()
@click.option("--only", type=_Parts(), default=PARTS, metavar="PART,PART,...", help=f"Of {', '.join(PARTS)}.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Of throughput and bulk.")
@click.option("--seconds", type=click.FloatRange(0.3), default=4.0, show_default=True, help="A side and round.")
@click.option("--texts", type=click.IntRange(1), default=10_000, show_default=True, help="Of bulk.")
@click.option("--stream", type=click.IntRange(1), default=1_000_000, show_default=True, help="Texts of memory.")
@click.option("--requests", type=click.IntRange(1), default=100_000, show_default=True, help="Calls of chaos.")
@click.option("--kills", type=click.IntRange(0), default=2, show_default=True, help="Of chaos.")
@click.option(
    "--write", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build" / "clients",
    help="For clients.md and clients.json; else build/clients.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def main(
    only: tuple[str, ...],
    rounds: int,
    seconds: float,
    texts: int,
    stream: int,
    requests: int,
    kills: int,
    write: Path,
    as_json: bool,
) -> None:
    """Measure the client libraries."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    found: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), disable=as_json, transient=True) as progress:
        task = progress.add_task("starting the server", total=None)

        def report(line: str) -> None:
            progress.update(task, description=line)

        if set(only) - {"chaos"}:
            with served() as url:
                if "throughput" in only:
                    found["throughput"] = measure(url, rounds, seconds, report)
                if "bulk" in only:
                    found["bulk"] = bulk(url, texts, rounds, report)
                if "memory" in only:
                    found["memory"] = memory(url, stream, report)
        if "chaos" in only:
            found["chaos"] = chaos(requests, kills, report)
    document = keep(found, write)
    click.echo(json.dumps(document, indent=1) if as_json else page(document))


if __name__ == "__main__":
    main()
