"""What a server does when four times as much comes as it can answer.

    python benchmarks/overload.py [--repository model_repository] [--model minilm] [--rounds 3] [--steps] [--json]

In each round and for each workload, one after the other: a closed loop that keeps the server busy, requests that
come at a multiple of that rate whatever the server does, at random (Poisson), and the closed loop again. The peak is
the mean of the two. Latency counts from when a request was due. The generator runs on the same machine and takes a
part of it, which is shown. Figures are medians over the rounds; the ratio is the median of each round's.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from straining import LENGTHS, requests_of

from tritonpack.core.machine import this_machine
from tritonpack.loadtest.generator import generate
from tritonpack.loadtest.traffic import Arrivals, Closed
from tritonpack.repository.pbtxt import parse
from tritonpack.server.embedded import ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.loadtest.results import Level

US_PER_MS = 1000
BUSY = Closed(64)
COLUMNS = {
    "peak_per_s": "peak /s",
    "offered_per_s": "offered /s",
    "accepted_per_s": "accepted /s",
    "ratio": "accepted / peak",
    "accepted_p50_ms": "p50 ms",
    "accepted_p99_ms": "p99 ms",
    "full_queue_ms": "what waits / peak, ms",
    "refused": "refused",
    "refused_p50_ms": "refused, p50 ms",
    "refused_p99_ms": "refused, p99 ms",
    "client_cores": "generator, cores",
}


def one_round(url: str, requests: Sequence[bytes], times: float, seconds: float, *, waiting: int) -> dict[str, Any]:
    """Measure the peak and then the overload.

    Args:
        url: of the server.
        requests: serialized.
        times: how much of the peak comes.
        seconds: that each load is measured.
        waiting: the most requests that wait or are run.
    """
    before = generate(url, requests, BUSY, seconds).throughput_per_s
    over = generate(url, requests, Arrivals(times * before), seconds, processes=2)
    peak = (before + generate(url, requests, BUSY, seconds).throughput_per_s) / 2
    statuses = {failure.status: failure.count for failure in over.failures}
    return {
        "peak_per_s": peak,
        "offered_per_s": over.offered_per_s,
        "accepted_per_s": over.throughput_per_s,
        "ratio": over.throughput_per_s / peak,
        "accepted_p50_ms": over.latency.p50_us / US_PER_MS,
        "accepted_p99_ms": over.latency.p99_us / US_PER_MS,
        "full_queue_ms": 1000 * waiting / peak,
        "client_cores": over.client_cpu,
        **refusals(over),
        "statuses": statuses,
    }


def refusals(level: Level) -> dict[str, float]:
    """How many requests a full queue refused, and how soon; the slowest p50 and p99 of several messages."""
    refused = [failure for failure in level.failures if failure.status == "UNAVAILABLE"]
    return {
        "refused": sum(failure.count for failure in refused),
        "refused_p50_ms": max((failure.p50_us for failure in refused), default=0.0) / US_PER_MS,
        "refused_p99_ms": max((failure.p99_us for failure in refused), default=0.0) / US_PER_MS,
    }


def most_waiting(repository: Path, model: str) -> int:
    """Requests of the usual priority that can be in the server at once: in the queue, and one a row in a batch.

    Raises:
        click.UsageError: the queue of the model's encoder has no bound.
    """
    config = parse((repository / f"{model}_encoder" / "config.pbtxt").read_text(encoding="utf-8"))
    policy = config.dynamic_batching and config.dynamic_batching.default_queue_policy
    if not policy or not policy.max_queue_size:
        raise click.UsageError(f"{model}_encoder's queue has no bound (recipe: serving.queue), so nothing is refused")
    return policy.max_queue_size + config.max_batch_size


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in rounds) for name in COLUMNS}


@click.command()
@click.option("--repository", type=click.Path(path_type=Path, exists=True), default="model_repository")
@click.option("--model", default="minilm", show_default=True, help="An ensemble that takes `text`.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=8.0, show_default=True)
@click.option("--times", default=4.0, show_default=True, help="How much of the peak comes.")
@click.option("--workload", "workloads", multiple=True, type=click.Choice(list(LENGTHS)), default=tuple(LENGTHS))
@click.option("--steps", is_flag=True, help="The plain ensemble, one process a step.")
@click.option("--json", "as_json", is_flag=True)
def main(
    repository: Path,
    model: str,
    rounds: int,
    seconds: float,
    times: float,
    workloads: Sequence[str],
    steps: bool,
    as_json: bool,
) -> None:
    """Measure the peak and what is left of it under overload."""
    waiting = most_waiting(repository, model)
    requests = {workload: requests_of(model, workload) for workload in workloads}
    results: dict[str, list[dict[str, Any]]] = {workload: [] for workload in workloads}
    options = ServerOptions(repository, *free_ports(), models=(model,), one_process=not steps)
    with start(options) as server, Progress(disable=as_json, transient=True) as progress:
        task = progress.add_task("overload", total=rounds * len(requests))
        for _ in range(rounds):
            for workload, bodies in requests.items():
                results[workload].append(one_round(server.grpc_url, bodies, times, seconds, waiting=waiting))
                progress.advance(task)
    summary = {workload: medians(measured) for workload, measured in results.items()}
    if as_json:
        machine = asdict(this_machine())
        print(json.dumps({"machine": machine, "times": times, "medians": summary, "rounds": results}, indent=1))
        return
    table = Table(title=f"{model}: {times:g} times the peak, medians of {rounds} rounds", box=None)
    table.add_column("")
    for workload in summary:
        table.add_column(workload, justify="right")
    for name, title in COLUMNS.items():
        table.add_row(title, *(f"{figures[name]:.3g}" for figures in summary.values()))
    Console().print(table)
    for workload, measured in results.items():
        print(f"{workload}: answers that weren't OK, by round: {[one['statuses'] for one in measured]}")


if __name__ == "__main__":
    main()
