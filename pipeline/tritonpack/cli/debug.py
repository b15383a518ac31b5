"""`tritonpack debug`."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from tritonpack.cli.output import json_option, print_json, stderr, stdout, table_from_rows
from tritonpack.cli.progress import watching
from tritonpack.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from tritonpack.debugging.compare import Comparison, Layer
    from tritonpack.debugging.diagnose import Diagnosis

_CONTRIBUTORS = 10
_NOTHING = "-"
_COSINE = click.FloatRange(min=-1, max=1)


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--target", help="The target whose graph is in question.")
@click.option("--precision", metavar="NAME", help="A precision in place of a target's.")
@click.option("--candidate", type=click.Path(path_type=Path), metavar="FILE",
              help="An ONNX file in question, e.g. an edited copy of the exported graph.")  # fmt: skip
@click.option("--text", "texts", multiple=True, metavar="TEXT",
              help="What to run; may be repeated, for a batch. A pair has a tabulator between. Default: data of the"
              " recipe.")  # fmt: skip
@click.option("--reduce", "reduce_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the smallest part that fails alone to this ONNX file, its inputs beside it.")  # fmt: skip
@click.option("--min-cosine", type=_COSINE, help="Lowest cosine of a row. Default: the precision's gate.")
@click.option("--mean-cosine", type=_COSINE, help="Lowest mean cosine. Default: the precision's gate.")
@click.option("--tolerance", type=click.FloatRange(min=0), metavar="ERROR",
              help="Greatest absolute error, of values around 1. Default: the precision's gate.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show every value, not only those that matter.")
@click.option("--store", type=click.Path(path_type=Path),
              help="Artifacts are kept here. Default: ~/.cache/tritonpack/store.")  # fmt: skip
@json_option
def debug(
    recipe: Path,
    target: str | None,
    precision: str | None,
    candidate: Path | None,
    texts: tuple[str, ...],
    reduce_to: Path | None,
    min_cosine: float | None,
    mean_cosine: float | None,
    tolerance: float | None,
    everything: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Find where the graph of RECIPE in a precision first parts from FP32, and which layers drive it apart.

    Every value that both graphs name is compared on one input, in ONNX Runtime; each layer is also run on FP32's own
    values, so that what it brings in by itself is told apart from what it was given.
    """
    from tritonpack.assess import debug as run_debug
    from tritonpack.core.tensors import Tolerance
    from tritonpack.recipe import load_recipe

    if sum(choice is not None for choice in (target, precision, candidate)) > 1:
        raise ConfigurationError(
            "--target, --precision and --candidate name one graph each", hint="Give one of the three."
        )
    loaded = load_recipe(recipe)
    bounds = Tolerance(max_abs_error=tolerance, min_cosine=min_cosine, mean_cosine=mean_cosine)
    with watching(quiet=as_json) as observer, _progress(quiet=as_json) as progress:
        diagnosis = run_debug(
            loaded,
            target=target,
            precision=precision,
            candidate=candidate,
            texts=texts,
            bounds=bounds,
            reduce=reduce_to,
            store=store,
            observer=observer,
            progress=progress,
        )
    if as_json:
        print_json({"recipe": loaded.name, **diagnosis.to_json()})
    else:
        print_diagnosis(loaded.name, diagnosis, everything=everything)


def print_diagnosis(name: str, diagnosis: Diagnosis, *, everything: bool) -> None:
    """Print the table of layers, the first divergence in a sentence, and what to try next."""
    console, comparison = stdout(), diagnosis.comparison
    console.print(_table(escape(f"{name}: {diagnosis.candidate} beside FP32"), comparison, everything=everything))
    console.print()
    console.print(comparison.explanation(), markup=False)
    if comparison.unmatched:
        console.print(f"{len(comparison.unmatched)} values of FP32 have no name in the other graph.", markup=False)
    if comparison.advice():
        console.print(f"next    {comparison.advice()}", markup=False)
    reduction = diagnosis.reduction
    if reduction is not None:
        console.print(
            f"reduced {reduction.file}: {reduction.nodes} nodes that compute {reduction.value} and fail alone; inputs"
            f" and expected output in {reduction.data}",
            markup=False,
        )


def _table(title: str, comparison: Comparison, *, everything: bool) -> Table:
    shown = comparison.layers if everything else _that_matter(comparison)
    columns = ("layer", "operator", "value", ">cosine", ">lowest", ">max error", ">error", ">introduced", "verdict")
    return table_from_rows(title, columns, [_row(comparison, layer) for layer in shown])


def _that_matter(comparison: Comparison) -> list[Layer]:
    """The first divergence, what is to blame for it, and what adds most, in the graph's order."""
    chosen = [comparison.first, comparison.culprit, *comparison.contributors(_CONTRIBUTORS)]
    values = {layer.value for layer in chosen if layer}
    return [layer for layer in comparison.layers if layer.value in values]


def _row(comparison: Comparison, layer: Layer) -> tuple[str, ...]:
    total, own = layer.total, layer.own
    numbers = (total.max_abs_error, total.relative_error, own.relative_error)
    names = (escape(text) for text in (layer.place, layer.operator, layer.value))
    cosines = (total.mean_cosine, total.min_cosine)
    comparable = math.isfinite(total.max_abs_error)
    written = [f"{cosine:.5f}" if comparable else _NOTHING for cosine in cosines]
    return (*names, *written, *map(_short, numbers), _verdict(comparison, layer))


def _verdict(comparison: Comparison, layer: Layer) -> str:
    if layer.own.problem:
        state = "[red]faulty[/]"
    elif layer.total.problem:
        state = "[yellow]out of tolerance[/]"
    else:
        state = "within"
    return f"{state}, [bold]first[/]" if layer is comparison.first else state


def _short(number: float) -> str:
    return f"{number:.2g}" if math.isfinite(number) else _NOTHING


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """One bar for what is compared; it stands for the step that runs."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("values"))
    disabled = quiet or not stderr().is_terminal
    with Progress(*columns, console=stderr(), transient=True, disable=disabled) as bar:
        row = bar.add_task("", visible=False)

        def advance(doing: str, done: int, of: int) -> None:
            bar.update(row, description=doing, completed=done, total=of, visible=True)

        yield advance
