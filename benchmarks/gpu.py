"""The model on this machine's GPU: ONNX Runtime, TensorRT, TensorRT-RTX, PyTorch and PyTorch compiled.

    python benchmarks/gpu.py [--recipe recipes/minilm.yaml] [--backend torch] [--rounds 3] [--json] [--rehearse]

Batches of 1 to 128 rows of 16 to 512 tokens, in FP32, FP16 and INT8. Writes ``docs/benchmarks-gpu.md`` with the
device's name, its figures as JSON beside it, and a picture. ONNX Runtime's package for CUDA is installed below
``build/``, since it can't lie beside the CPU's; TensorRT is the environment's (`tritonpack[tensorrt]`). What can't be
executed is a row with its reason. Without a GPU it says so, writes nothing and ends with 0; `--rehearse` then goes
through it all on the CPU with few shapes, and writes nothing either.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click
from accelerated.backends import BACKENDS, Place, RefusedError, install_onnxruntime_gpu
from accelerated.graphs import PRECISIONS, Source
from accelerated.page import NAMES, page, svg_from_results
from accelerated.results import Column, Results
from accelerated.workers import FailedError, Worker, reason
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tritonpack.core.errors import TritonpackError
from tritonpack.core.machine import this_machine
from tritonpack.core.tensors import agreement_of
from tritonpack.engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.core.tensors import Tensors

_NO_GPU = "There is no NVIDIA GPU here (no CUDA driver answers): nothing is measured, nothing is written."


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        batches: rows of a call, ascending.
        lengths: of a row in tokens, ascending.
        rounds: how often each figure is taken.
        seconds: that one figure takes.
    """

    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    rounds: int
    seconds: float

    def up_to(self, longest: int) -> Plan:
        """Without lengths that the model doesn't take."""
        lengths = tuple(length for length in self.lengths if length <= longest) or (longest,)
        return Plan(self.batches, lengths, self.rounds, self.seconds)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Every batch with every length."""
        return [(batch, length) for length in self.lengths for batch in self.batches]


WHOLE = Plan((1, 2, 4, 8, 16, 32, 64, 128), (16, 32, 64, 128, 256, 512), 3, 0.2)
REHEARSAL = Plan((1, 4), (16, 32), 1, 0.05)
_BEST = (32, 128)
_WIDE = 160  # a table in a log isn't folded
_PACKAGES = Path(__file__).parents[1] / "build" / "bench-gpu" / "onnxruntime"


@dataclass
class Opened:
    """A backend's process with one column that it can run."""

    worker: Worker
    column: Column


def measure(source: Source, backends: Sequence[str], plan: Plan, device: str, progress: Progress) -> list[Column]:
    """Open every backend in every precision, compare its answers, and time all shapes by turns.

    Raises:
        TritonpackError: the recipe or its model isn't right.
    """
    packages = _packages(backends) if device == "cuda" else None
    expected = [_answers_of_torch(source, inputs) for inputs in source.padded_rows()]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = [stack.enter_context(Worker(name)) for name in backends]
        columns = [Column(BACKENDS[worker.backend].name, precision) for precision in PRECISIONS for worker in workers]
        task = progress.add_task("graphs", total=len(columns) + plan.rounds * len(plan.shapes))
        opened = []
        for precision in PRECISIONS:
            file = _graph(source, precision)
            for worker in workers:
                column = columns[PRECISIONS.index(precision) * len(workers) + workers.index(worker)]
                progress.update(task, description=f"{column.backend}, {NAMES[precision]}", advance=1)
                if isinstance(file, str):
                    column.why = file
                    continue
                place = Place(source, file, device, max(plan.batches), _BEST, Path(folder), packages)
                _open(worker, column, place, expected)
                opened += [] if column.why else [Opened(worker, column)]
        _time(source, opened, plan, progress)
    return columns


def _packages(backends: Sequence[str]) -> Path | None:
    """ONNX Runtime's package for CUDA, where it is wanted and can be installed; if not, its row says what it lacks."""
    if "onnxruntime" not in backends:
        return None
    try:
        install_onnxruntime_gpu(_PACKAGES)
    except RefusedError as error:
        Console(stderr=True).print(str(error), markup=False)
        return None
    return _PACKAGES


def _graph(source: Source, precision: str) -> Path | str:
    """The graph in one precision, or why there is none."""
    try:
        return source.onnx(precision)
    except TritonpackError as error:
        return reason(error)


def _answers_of_torch(source: Source, inputs: Tensors) -> Tensors:
    import torch

    with torch.inference_mode():
        answer = source.module().eval()(*(torch.from_numpy(inputs[name]) for name in source.inputs))
    tensors = answer if isinstance(answer, tuple) else (answer,)
    return {name: tensor.numpy() for name, tensor in zip(source.outputs, tensors, strict=True)}


def _open(worker: Worker, column: Column, place: Place, expected: Sequence[Tensors]) -> None:
    """Load a column's model and compare its answers with PyTorch's, or say in the column why it isn't run."""
    try:
        column.load_s = worker.open(column.precision, place)
        cosines = [
            agreement_of(right[name], worker.answers(column.precision, inputs)[name]).min_cosine
            for inputs, right in zip(place.source.padded_rows(), expected, strict=True)
            for name in right
        ]
        column.cosine = min(cosines)
    except FailedError as error:
        column.why = str(error)


def _time(source: Source, opened: Sequence[Opened], plan: Plan, progress: Progress) -> None:
    """Shape by shape all columns by turns, in every round; a shape that failed isn't tried again."""
    taken: dict[int, dict[tuple[int, int], list[float]]] = {id(one): {} for one in opened}
    task = progress.task_ids[-1]
    for number in range(plan.rounds):
        for shape in plan.shapes:
            progress.update(task, description=f"{shape[0]} x {shape[1]}, round {number + 1}", advance=1)
            inputs = source.full_rows(*shape)
            for one in opened:
                if shape in one.column.failures:
                    continue
                try:
                    spent = one.worker.milliseconds(one.column.precision, inputs, plan.seconds)
                except FailedError as error:
                    one.column.failures[shape] = str(error)
                else:
                    taken[id(one)].setdefault(shape, []).append(spent)
    for one in opened:
        found = taken[id(one)].items()
        one.column.milliseconds = {s: statistics.median(every) for s, every in found if s not in one.column.failures}


def device_name() -> str:
    """What the driver calls the first GPU, with its memory."""
    query = ["nvidia-smi", "--id=0", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "NVIDIA GPU (nvidia-smi doesn't say which)"
    name, memory, driver = (part.strip() for part in told.strip().splitlines()[0].split(","))
    return f"{name}, {memory}, driver {driver}"


def versions_of(backends: Sequence[str]) -> dict[str, str]:
    """Installed packages that the figures depend on."""
    found = {}
    for package in dict.fromkeys(package for name in backends for package in BACKENDS[name].packages):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # its row says so
    return {"tritonpack": metadata.version("tritonpack"), **found}


def write(results: Results, docs: Path) -> None:
    """Write the page, its picture and the figures."""
    pictures = docs / "benchmarks-gpu"
    if any(not column.why for column in results.columns):
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / "batch.svg").write_text(svg_from_results(results), encoding="utf-8")
    (docs / "benchmarks-gpu.md").write_text(page(results, f"{pictures.name}/batch.svg"), encoding="utf-8")
    text = json.dumps(results.to_json(), indent=1) + "\n"
    (docs / "benchmarks-gpu.json").write_text(text, encoding="utf-8")


@click.command()
@click.option(
    "--recipe", type=click.Path(path_type=Path, exists=True), default="recipes/minilm.yaml", show_default=True
)
@click.option("--backend", "backends", type=click.Choice(list(BACKENDS)), multiple=True, help="All by default.")
@click.option("--rounds", type=click.IntRange(1), default=None, help="How often each figure is taken.  [default: 3]")
@click.option("--docs", type=click.Path(path_type=Path, file_okay=False), default="docs", show_default=True)
@click.option("--store", type=click.Path(path_type=Path, file_okay=False), help="Where graphs are kept.")
@click.option("--rehearse", is_flag=True, help="Few shapes on the CPU; nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def main(
    recipe: Path,
    backends: tuple[str, ...],
    rounds: int | None,
    docs: Path,
    store: Path | None,
    rehearse: bool,
    as_json: bool,
) -> None:
    """Measure a model on this machine's GPU."""
    if not rehearse and not ENGINES.get("tensorrt").can_execute():
        print(json.dumps({"device": None, "why": _NO_GPU}) if as_json else _NO_GPU)
        return
    machine = this_machine()
    plan = REHEARSAL if rehearse else WHOLE
    plan = Plan(plan.batches, plan.lengths, rounds or plan.rounds, plan.seconds)
    source = Source(recipe, max(plan.lengths), store)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    quiet = as_json or not sys.stderr.isatty()
    try:
        plan = plan.up_to(source.max_length)
        chosen = [name for name in BACKENDS if name in (backends or BACKENDS)]
        with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
            measured = measure(source, chosen, plan, "cpu" if rehearse else "cuda", progress)
    except TritonpackError as error:
        raise click.ClickException("\n".join(filter(None, (error.message, error.hint)))) from error
    results = Results(
        device=f"{machine.cpu} (a rehearsal)" if rehearse else device_name(),
        model=source.workshop.recipe.name,
        batches=plan.batches,
        lengths=plan.lengths,
        rounds=plan.rounds,
        versions=versions_of(chosen),
        machine=f"{machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}",
        columns=tuple(measured),
    )
    if not rehearse:
        write(results, docs)
    if as_json:
        print(json.dumps(results.to_json(), indent=1))
        return
    _show(results)


def _show(results: Results) -> None:
    """Print the best rates, and below them what wasn't executed."""
    table = Table("backend", "precision", "load s", "cosine", *(f"{length} tokens" for length in results.lengths))
    table.title, table.title_justify = f"{results.device}: texts a second, best batch", "left"
    for column in results.columns:
        if not column.why:
            rates = (column.best_rate(length) for length in results.lengths)
            figures = [f"{rate:,.0f}" if rate else "" for rate in rates]
            loaded = [f"{column.load_s:.1f}", f"{column.cosine:.5f}"]
            table.add_row(column.backend, NAMES[column.precision], *loaded, *figures)
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    console.print(table)
    for column in results.columns:
        if column.why:
            console.print(f"{column.backend}, {NAMES[column.precision]}: {column.why}", markup=False)


if __name__ == "__main__":
    main()
