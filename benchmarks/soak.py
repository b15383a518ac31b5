"""Whether a server's memory grows: the same load for a long time, its processes looked at every few seconds.

    python benchmarks/soak.py [--minutes 20] [--share 0.8] [--overload 4] [--repository model_repository]

After a closed loop that finds the peak, requests come at random at a share of it; `--overload N` lets N times the
peak come instead, most of which is refused. Writes ``soak.json`` and ``soak.svg`` to `--out`: the resident memory of
the server and of each model's process over time, and how much it grows in an hour with its 95% interval. The first
quarter of the time isn't taken for that: memory pools fill.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from straining import LENGTHS, requests_of

from tritonpack.core.machine import this_machine
from tritonpack.loadtest.generator import generate
from tritonpack.loadtest.stability import Trend, trend
from tritonpack.loadtest.traffic import Arrivals, Closed
from tritonpack.reports.figures import COLORS, drawing
from tritonpack.server.embedded import ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.loadtest.results import Level

    Samples = Mapping[str, Sequence[tuple[float, float]]]

INTERVAL_S = 2.0
SETTLES = 0.25
MB = 1_000_000
LEAST_SAMPLES = 20


def parts_of(pid: int) -> dict[str, psutil.Process]:
    """The server's processes by name: the server itself, and the stub of each model's instance."""
    server = psutil.Process(pid)
    return {"server": server} | {_name(child): child for child in server.children(recursive=True)}


def _name(stub: psutil.Process) -> str:
    """The instance's name stands at the end of a stub's command line, after the model's path."""
    paths = [Path(word) for word in stub.cmdline() if word.endswith("model.py")]
    return f"{paths[0].parent.parent.name} ({stub.pid})" if paths else f"{stub.name()} ({stub.pid})"


def sampler(parts: Mapping[str, psutil.Process], samples: dict[str, list[tuple[float, float]]]) -> Callable[..., None]:
    """Make what is called several times a second and looks every few seconds."""

    def sample(elapsed_s: float) -> None:
        taken = samples["all"]
        if elapsed_s < 0 or (taken and elapsed_s < taken[-1][0] + INTERVAL_S):
            return
        sizes = {name: process.memory_info().rss / MB for name, process in parts.items()}
        for name, size in (*sizes.items(), ("all", sum(sizes.values()))):
            samples[name].append((elapsed_s, size))

    return sample


def trends_of(samples: Samples) -> dict[str, Trend]:
    """A line through each process's memory, without the time in which pools fill.

    Raises:
        click.ClickException: there are too few samples for a line.
    """
    found = {}
    for name, taken in samples.items():
        settled = [one for one in taken if one[0] >= SETTLES * taken[-1][0]]
        if len(settled) < LEAST_SAMPLES:
            raise click.ClickException(f"{len(settled)} samples are too few for a line: give it more --minutes")
        found[name] = trend("memory, MB", [moment for moment, _ in settled], [size for _, size in settled])
    return found


def picture(samples: Samples) -> str:
    """Draw memory over time, each process from 0."""
    with drawing("soak", 7.0, 3.0) as drawn:
        axes = drawn.figure.subplots()
        for color, (name, taken) in zip(COLORS, samples.items(), strict=False):
            axes.plot([moment / 60 for moment, _ in taken], [size for _, size in taken], color=color, label=name)
        axes.set(xlabel="Minutes", ylabel="Resident memory, MB", ylim=(0, None))
        axes.legend()
    return drawn.svg


def outcome(level: Level, peak: float, samples: Samples, trends: Mapping[str, Trend]) -> dict[str, Any]:
    """Everything as data."""
    return {
        "machine": asdict(this_machine()),
        "peak_per_s": peak,
        "offered_per_s": level.offered_per_s,
        "answered_per_s": level.throughput_per_s,
        "p99_ms": level.latency.p99_us / 1000,
        "failures": [asdict(failure) for failure in level.failures],
        "trends": {name: asdict(line) for name, line in trends.items()},
        "samples": {name: [[round(t, 1), round(mb, 2)] for t, mb in taken] for name, taken in samples.items()},
    }


@click.command()
@click.option("--repository", type=click.Path(path_type=Path, exists=True), default="model_repository")
@click.option("--model", default="minilm", show_default=True, help="An ensemble that takes `text`.")
@click.option("--minutes", default=20.0, show_default=True)
@click.option("--share", default=0.8, show_default=True, help="Of the peak that comes.")
@click.option("--overload", type=float, help="How many times the peak comes, in place of a share.")
@click.option("--workload", type=click.Choice(list(LENGTHS)), default="mixed", show_default=True)
@click.option("--steps", is_flag=True, help="The plain ensemble, one process a step.")
@click.option("--out", type=click.Path(path_type=Path), default="build/soak", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    repository: Path,
    model: str,
    minutes: float,
    share: float,
    overload: float | None,
    workload: str,
    steps: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Load a server for a long time and say whether its memory grows."""
    requests = requests_of(model, workload)
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    options = ServerOptions(repository, *free_ports(), models=(model,), one_process=not steps)
    with start(options) as server, Progress(disable=as_json, transient=True) as progress:
        peak = generate(server.grpc_url, requests, Closed(64), 10.0).throughput_per_s
        look = sampler(parts_of(server.state.pid), samples)
        task = progress.add_task("soak", total=60 * minutes)

        def passed(elapsed_s: float) -> None:
            look(elapsed_s)
            progress.update(task, completed=elapsed_s)

        load = Arrivals(peak * (overload or share))
        level = generate(server.grpc_url, requests, load, 60 * minutes, progress=passed, processes=2)
    trends = trends_of(samples)
    document = outcome(level, peak, samples, trends)
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "soak.svg").write_text(picture(samples), encoding="utf-8")
    if as_json:
        print(json.dumps({name: value for name, value in document.items() if name != "samples"}, indent=1))
        return
    table = Table(title=f"{model}: {minutes:g} minutes at {level.offered_per_s:.0f}/s, peak {peak:.0f}/s", box=None)
    for column in ("process", "mean MB", "MB an hour", "95% interval", "memory"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, line in trends.items():
        interval = f"{line.low:+.2f} to {line.high:+.2f}"
        table.add_row(name, f"{line.mean:.1f}", f"{line.per_hour:+.2f}", interval, line.verdict)
    Console().print(table)
    print(f"answered {level.throughput_per_s:.0f}/s, failures {[(f.status, f.count) for f in level.failures]}; {out}")


if __name__ == "__main__":
    main()
