"""How long a build takes and how much memory it needs: cold, unchanged, and after a change of `serving:` alone.

    python benchmarks/build.py [--recipe recipes/minilm.yaml] [--target cpu --target rtx] [--rounds 3] [--json]
                               [--write docs]

Each build is a process of its own, with a new store and repository for every round; the figures are
medians over the rounds, of the whole process, imports included.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import yaml
from comparing.documents import update_document
from rich.console import Console
from rich.table import Table

KIB_PER_MB = 1000 / 1.024
CASES = ("cold", "unchanged", "serving changed")


@dataclass(frozen=True)
class Run:
    """One build: wall seconds, greatest resident memory in MB, actions run and found."""

    case: str
    wall_s: float
    peak_mb: float
    ran: int
    hit: int


def timed_build(case: str, recipe: Path, targets: tuple[str, ...], folder: Path) -> Run:
    """Build in a process of its own and read what the operating system says about it."""
    command = [sys.executable, "-m", "tritonpack.cli", "build", str(recipe), "--json"]
    command += ["--store", str(folder / "store"), "--repository", str(folder / "repository")]
    command += [word for target in targets for word in ("--target", target)]
    with (folder / "out.json").open("w") as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    outcomes = [step["outcome"] for step in json.loads((folder / "out.json").read_text())["steps"]]
    return Run(case, wall, usage.ru_maxrss / KIB_PER_MB, outcomes.count("ran"), outcomes.count("hit"))


def one_round(recipe: Path, targets: tuple[str, ...]) -> list[Run]:
    """The three cases one after another, beside each other in one new folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document = yaml.safe_load(recipe.read_text())
        document["serving"] = {**document.get("serving", {}), "queue_delay_us": 777}
        changed = folder / recipe.name
        changed.write_text(yaml.safe_dump(document))
        builds = zip(CASES, (recipe, recipe, changed), strict=True)
        return [timed_build(case, path, targets, folder) for case, path in builds]


def medians(rounds: list[list[Run]]) -> list[Run]:
    """Case by case, the median of each figure."""
    return [
        Run(
            runs[0].case,
            statistics.median(run.wall_s for run in runs),
            statistics.median(run.peak_mb for run in runs),
            runs[0].ran,
            runs[0].hit,
        )
        for runs in zip(*rounds, strict=True)
    ]


@click.command()
@click.option("--recipe", type=click.Path(path_type=Path, exists=True), default=Path("recipes/minilm.yaml"))
@click.option("--target", "targets", multiple=True, default=("cpu", "rtx"), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@click.option("--write", type=click.Path(path_type=Path, file_okay=False), help="Write it into benchmarks.json here.")
def main(recipe: Path, targets: tuple[str, ...], rounds: int, as_json: bool, write: Path | None) -> None:
    """Measure and print."""
    measured = medians([one_round(recipe, targets) for _ in range(rounds)])
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    document = {"machine": machine, "rounds": rounds, "targets": targets, "runs": [asdict(run) for run in measured]}
    if write:
        update_document(write / "benchmarks.json", "build", document)
    if as_json:
        print(json.dumps(document))
        return
    table = Table("build", "wall s", "peak MB", "ran", "hit", title=f"{recipe}, {', '.join(targets)}: {machine}")
    for run in measured:
        table.add_row(run.case, f"{run.wall_s:.2f}", f"{run.peak_mb:.0f}", str(run.ran), str(run.hit))
    Console().print(table)


if __name__ == "__main__":
    main()
