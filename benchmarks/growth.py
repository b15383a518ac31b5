"""How cost grows: with the length of a text, the texts in a request, requests in flight, models, and bytes.

    python benchmarks/growth.py [--quick] [--curve models] [--repository model_repository] [--model minilm] [--json]

Writes ``docs/growth.md``, ``docs/growth.json`` and the pictures in ``docs/growth/`` (`--docs` names another folder;
with `--curve` or `--quick` nothing is written unless it is given). Takes about ten minutes on two cores.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
from growing.curves import Curve, Figures
from growing.loading import started, with_models, with_weights
from growing.page import CHAPTERS, page
from growing.pictures import svg_from_curve
from growing.repositories import config_of, ensemble_of
from growing.served import Ensemble, at_concurrency, at_length, at_rows, served_ensemble
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tritonpack.core.errors import TritonpackError
from tritonpack.core.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAMES = tuple(CHAPTERS)
_AXES = {
    "length": "tokens",
    "batch": "texts a request",
    "concurrency": "requests in flight",
    "models": "models",
    "weights": "weights, MB",
}
_TERMINATED = 128 + signal.SIGTERM
_WIDE = 160  # a table in a log isn't folded
_SERVED = ("length", "batch", "concurrency")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        points: by curve, ascending.
        rounds: by curve.
        seconds: that one load is measured.
    """

    points: dict[str, tuple[int, ...]]
    rounds: dict[str, int]
    seconds: float


WHOLE = Plan(
    {
        "length": (8, 16, 32, 64, 128, 256),
        "batch": (1, 2, 4, 8, 16, 32, 64),
        "concurrency": (1, 2, 4, 8, 16, 32, 64, 128),
        "models": (1, 2, 5, 10, 20, 50),
        "weights": (4, 32, 128, 512, 1024),
    },
    {"length": 3, "batch": 3, "concurrency": 3, "models": 2, "weights": 3},
    2.0,
)
QUICK = Plan(
    {"length": (8, 16), "batch": (1, 4), "concurrency": (1, 4), "models": (1, 2), "weights": (4, 8)},
    dict.fromkeys(_NAMES, 1),
    0.3,
)


def measure(plan: Plan, names: Sequence[str], repository: Path, model: str, *, quiet: bool) -> list[Curve]:
    """Measure curves round by round; within a round every point of a curve once.

    Raises:
        click.ClickException: a request was refused.
        TritonpackError: a server didn't start, or didn't answer.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    total = sum(len(plan.points[name]) * plan.rounds[name] for name in names)
    curves = []
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("starting", total=total)

        def measured(name: str, at: Callable[[int], Figures]) -> Curve:
            rounds: list[dict[float, Figures]] = []
            for number in range(plan.rounds[name]):
                rounds.append({})
                for x in plan.points[name]:
                    said = f"{name} {x}, round {number + 1} of {plan.rounds[name]}"
                    progress.update(task, description=f"{said:<36}")
                    rounds[-1][x] = at(x)
                    progress.advance(task)
            return Curve.of_rounds(name, _AXES[name], rounds)

        if served := [name for name in names if name in _SERVED]:
            with started(repository) as (server, _):
                ensemble = served_ensemble(server.grpc_url, repository, model)
                at_concurrency(ensemble, plan.points["concurrency"][-1], plan.seconds)  # threads, arenas, caches
                curves += [measured(name, _asked(name, ensemble, plan.seconds)) for name in served]
        if "models" in names:
            curves.append(measured("models", lambda count: with_models(repository, model, count, plan.seconds)))
        if "weights" in names:
            threads = threads_of(repository, model)
            curves.append(measured("weights", lambda size: with_weights(size, threads, plan.seconds)))
    return curves


def _asked(name: str, ensemble: Ensemble, seconds: float) -> Callable[[int], Figures]:
    at = {"length": at_length, "batch": at_rows, "concurrency": at_concurrency}[name]
    return lambda x: at(ensemble, x, seconds)


def threads_of(repository: Path, model: str) -> int:
    """The threads of the ensemble's encoder, so that models of any size run as it does."""
    steps = (config_of(repository / step.model_name) for step in ensemble_of(repository, model))
    named = (config.parameters.get("intra_op_thread_count") for config in steps)
    return next((int(found.string_value) for found in named if found), 1)


def fitting(plan: Plan, repository: Path, model: str) -> Plan:
    """The plan without lengths and batches that the model doesn't take."""
    ensemble = served_ensemble("", repository, model)
    points = dict(plan.points)
    points["length"] = tuple(x for x in points["length"] if ensemble.around < x <= ensemble.longest)
    points["batch"] = tuple(x for x in points["batch"] if x <= ensemble.most_rows)
    return Plan(points, plan.rounds, plan.seconds)


def document(curves: Sequence[Curve], model: str) -> dict[str, object]:
    """As one JSON object."""
    return {
        "model": model,
        "machine": asdict(this_machine()),
        "versions": _versions(),
        "curves": [curve.to_json() for curve in curves],
    }


def write(curves: Sequence[Curve], model: str, docs: Path) -> None:
    """Write the page, its pictures and the figures."""
    pictures = docs / "growth"
    pictures.mkdir(parents=True, exist_ok=True)
    for curve in curves:
        (pictures / f"{curve.name}.svg").write_text(
            svg_from_curve(curve, CHAPTERS[curve.name].panels), encoding="utf-8"
        )
    text = page(curves, this_machine(), _versions(), model, pictures.name)
    (docs / "growth.md").write_text(text, encoding="utf-8")
    (docs / "growth.json").write_text(json.dumps(document(curves, model), indent=1) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tritonpack", "onnxruntime", "tokenizers", "numpy")}


@click.command()
@click.option("--repository", type=click.Path(path_type=Path, exists=True), default="model_repository")
@click.option("--model", default="minilm", show_default=True, help="An ensemble that takes `text`.")
@click.option("--curve", "names", type=click.Choice(_NAMES), multiple=True, help="Only these; all by default.")
@click.option("--quick", is_flag=True, help="Two points a curve: shows that it works, measures nothing.")
@click.option("--docs", type=click.Path(path_type=Path, file_okay=False), help="Where the page goes.  [default: docs]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def main(repository: Path, model: str, names: tuple[str, ...], quick: bool, docs: Path | None, as_json: bool) -> None:
    """Measure how cost grows, and draw it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that servers are stopped then too
    chosen = [name for name in _NAMES if name in names] or list(_NAMES)
    plan = fitting(QUICK if quick else WHOLE, repository, model)
    try:
        curves = measure(plan, chosen, repository, model, quiet=as_json or not sys.stderr.isatty())
    except TritonpackError as error:
        raise click.ClickException("\n".join(filter(None, (error.message, error.hint)))) from error
    if docs is None and not quick and not names:
        docs = Path("docs")
    if docs is not None:
        write(curves, model, docs)
    if as_json:
        print(json.dumps(document(curves, model), indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    for curve in curves:
        table = Table(curve.x, *curve.figures, title=CHAPTERS[curve.name].title, title_justify="left")
        for x, point in curve.points.items():
            table.add_row(f"{x:g}", *(f"{value:,.1f}" for value in point.values()))
        console.print(table)
        console.print(CHAPTERS[curve.name].finding(curve), markup=False)


if __name__ == "__main__":
    main()
