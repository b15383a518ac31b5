"""The task's own metric with PyTorch and with the served model: ``python recipes/zoo/measure.py [NAME...]``.

Builds one target of each recipe into a repository (a second time everything is there), serves it with a real
Triton, asks it over gRPC, and compares. Exit code 1 if a metric of an FP32 target differs at three decimals.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytorch
import served
from measures import measures
from rich.console import Console
from rich.table import Table

import tritonpack
from tritonpack.core.machine import this_machine
from tritonpack.evaluation.scorers import SCORERS
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack_client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measures import Measure

    from tritonpack.recipe import Recipe

_FOLDER = Path(__file__).parent
_DECIMALS = 3
_EXACT = "cpu_fp32"
_WIDE = 130
_CONSOLE = Console(stderr=True)


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Args:
        recipe: the recipe's name.
        target: what was served.
        metric: what was measured.
        rows: requests' rows.
        pytorch: the metric of PyTorch in FP32.
        served: the metric of the served target.
        same: rows with the same answer; of embeddings, vectors within 1e-4 of one another.
        labels: how the labels came about, where no person gave them.
    """

    recipe: str
    target: str
    metric: str
    rows: int
    pytorch: float
    served: float
    same: int
    labels: str

    @property
    def equal(self) -> bool:
        """Whether both metrics are the same at three decimals."""
        return f"{self.pytorch:.{_DECIMALS}f}" == f"{self.served:.{_DECIMALS}f}"


def measured(names: Sequence[str], target: str, repository: Path) -> list[Result]:
    """Build, serve and measure recipes of this folder."""
    recipes = {name: tritonpack.load_recipe(_FOLDER / f"{name}.yaml") for name in names}
    for name, recipe in recipes.items():
        with _CONSOLE.status(f"building {name}"):
            tritonpack.build(recipe, [target], repository=repository)
    known = measures()
    options = ServerOptions(repository, *free_ports(), config_name=target, models=tuple(recipes))
    with start(options) as server, Client(server.grpc_url) as client:
        found = []
        for name, recipe in recipes.items():
            with _CONSOLE.status(f"measuring {name}"):
                found += [_result(client, recipe, target, measure) for measure in known[name]]
        return found


def _result(client: Client, recipe: Recipe, target: str, measure: Measure) -> Result:
    data = measure.examples(recipe)
    expected, found = pytorch.outputs(recipe, data.rows), served.outputs(client, recipe, data)
    answers = SCORERS.get(recipe.task.kind).answers
    return Result(
        recipe=recipe.name,
        target=target,
        metric=measure.title,
        rows=len(data.rows),
        pytorch=measure.value(recipe, data, expected),
        served=measure.value(recipe, data, found),
        same=sum(_is_same(*pair) for pair in zip(answers(expected), answers(found), strict=True)),
        labels=data.origin or "people's",
    )


def _is_same(expected: Any, found: Any) -> bool:
    if not isinstance(expected, np.ndarray):
        return bool(expected == found)
    expected, found = (vector / np.linalg.norm(vector) for vector in (expected, found))
    return bool(np.abs(expected - found).max() < 1e-4)  # noqa: PLR2004  as FP32 engines differ in rounding


def _table(results: Sequence[Result]) -> Table:
    title = f"PyTorch in FP32, and {results[0].target} as it is served"
    table = Table("recipe", "metric", "rows", "PyTorch", "served", "same answers", "labels", title=title)
    for result in results:
        table.add_row(*_cells(result), style=None if result.equal or result.target != _EXACT else "red")
    return table


def _page(results: Sequence[Result]) -> str:
    machine = this_machine()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime"))
    return "\n".join(
        [
            "# Real models",
            "",
            "The task's metric of models with real weights, of PyTorch in FP32 and of the ensemble that Triton serves",
            f"(target `{results[0].target}`), to three decimals. Weights and data ship inside packages",
            "(`requirements/zoo.txt` says which, and their licences), or are small heads trained on them by",
            "`recipes/zoo/train.py`. Written by `make zoo`; not by hand.",
            "",
            "| recipe | metric | rows | PyTorch | served | same answers | labels |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(f"| {' | '.join(_cells(result))} |" for result in results),
            "",
            f"Machine: {machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}; no GPU used.",
            f"Versions: {versions}.",
            "",
        ]
    )


def _cells(result: Result) -> tuple[str, ...]:
    numbers = (f"{value:.{_DECIMALS}f}" for value in (result.pytorch, result.served))
    same = f"{result.same} of {result.rows}"
    return (result.recipe, result.metric, str(result.rows), *numbers, same, result.labels)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"recipes: {', '.join(measures())}; all by default")
    parser.add_argument("--target", default=_EXACT, help="the target to serve")
    parser.add_argument("--repository", type=Path, default=Path("build/zoo_repository"), help="where models are built")
    parser.add_argument("--report", type=Path, help="a page to write, in Markdown")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - measures().keys():
        parser.error(f"no recipe {', '.join(sorted(unknown))}")
    results = measured(arguments.names or list(measures()), arguments.target, arguments.repository)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    else:
        # A table in a log isn't folded.
        Console(width=None if sys.stdout.isatty() else _WIDE).print(_table(results))
    if arguments.report:
        arguments.report.write_text(_page(results), encoding="utf-8")
    return int(arguments.target == _EXACT and not all(result.equal for result in results))


if __name__ == "__main__":
    sys.exit(_main())
