"""`tritonpack evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows
from tritonpack.cli.overlay import overlay_option
from tritonpack.core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tritonpack.recipe import Recipe
    from tritonpack.reports.documents import Evaluation, TargetScore

_BYTES_PER_MB = 1e6


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, metavar="NAME",
              help="A target of the recipe; may be repeated. Default: every one that can be built here.")  # fmt: skip
@click.option("--precision", "precisions", multiple=True, metavar="NAME",
              help="A precision, whether or not a target has it; may be repeated.")  # fmt: skip
@click.option("--served", "served_url", metavar="HOST:PORT",
              help="Ask the served model at this gRPC endpoint instead, beside FP32 in process.")  # fmt: skip
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the page with plots, curves and confusion matrices too.")  # fmt: skip
@overlay_option
@click.option("--store", type=click.Path(path_type=Path),
              help="Artifacts are kept here. Default: ~/.cache/tritonpack/store.")  # fmt: skip
@json_option
def evaluate(
    recipe: Path,
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    served_url: str | None,
    html_file: Path | None,
    overlays: tuple[Path, ...],
    store: Path | None,
    as_json: bool,
) -> None:
    """Measure RECIPE on its labelled data: metrics with intervals of 95%, beside FP32.

    The data is that of the recipe's accuracy gate; without labels it is agreement with FP32's own answers. No gate
    stops anything here. Exit codes: 0 done, 2 the recipe, its data or an option is wrong, 3 something that was asked
    for can't be done here, 4 a stage failed, 5 the store or FILE can't be written, 6 the server failed.
    """
    from tritonpack.recipe import load_recipe

    if served_url and (targets or precisions):
        raise click.UsageError("--served measures what the server has; leave --target and --precision out")
    loaded = load_recipe(recipe, overlays)
    found = _measured(loaded, targets, precisions, served_url, store, quiet=as_json)
    if not found.targets:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.refused.items())
        raise UnsupportedError(f"nothing of {loaded.name} could be measured here: {reasons or 'it has no targets'}")
    if html_file is not None:
        from tritonpack.reports.evaluation import html_from_evaluation
        from tritonpack.reports.page import write_page

        write_page(html_from_evaluation(found), html_file)
    if as_json:
        print_json(found.to_json() | ({} if html_file is None else {"html": html_file}))
        return
    print_evaluation(found)
    if html_file is not None:
        stdout().print(f"report  {html_file}", markup=False)


def _measured(
    recipe: Recipe,
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    served_url: str | None,
    store: Path | None,
    *,
    quiet: bool,
) -> Evaluation:
    from tritonpack import assess
    from tritonpack.cli.progress import watching
    from tritonpack.endpoint import connected, served_limits

    with watching(quiet=quiet) as observer:
        if served_url is None:
            return assess.evaluate(recipe, targets, precisions, store=store, observer=observer)
        with connected(served_url) as client:
            served_limits(client, recipe.name)
            return assess.evaluate_served(recipe, client, served_url, store=store, observer=observer)


def print_evaluation(found: Evaluation) -> None:
    """Print the table, and what a reader must know beside it."""
    from rich.markup import escape

    console = stdout()
    score = found.targets[0].score
    title = f"{found.recipe}: {score['samples']:,} samples of {found.dataset or 'its data'}, {_against(score)}"
    columns = ("target", "precision", "metric", ">value", ">95%", ">to FP32", ">95%", ">same", ">cosine", ">MB",
               ">speed")  # fmt: skip
    rows = (map(escape, row) for target in found.targets for row in _rows(target))
    console.print(table_from_rows(escape(title), columns, map(tuple, rows)))
    for target in found.targets:
        for text in filter(None, (_quantized(target), target.note)):
            console.print(f"{target.target}: {text}", markup=False)
    for name, reason in found.refused.items():
        console.print(f"{name} has no score: {reason}", markup=False, style="yellow")


def _against(score: Mapping[str, Any]) -> str:
    origin = f" ({score['origin']})" if score["origin"] else ""
    return f"against {score['against']}{origin}"


def _rows(target: TargetScore) -> Iterator[tuple[str, ...]]:
    """One row a metric; what belongs to the target stands in its first."""
    score = target.score
    once = (
        f"{score['same_answers']:,}/{score['samples']:,}",
        "" if target.mean_cosine is None else f"{target.mean_cosine:.5f}",
        "" if target.size_bytes is None else f"{target.size_bytes / _BYTES_PER_MB:.1f}",
        "" if target.speed_ratio is None else f"{target.speed_ratio:.2f}x",
    )
    for place, (metric, figure) in enumerate(score["metrics"].items()):
        names = (target.target, target.precision) if place == 0 else ("", "")
        yield (
            *names,
            metric,
            _number(figure["value"]),
            _range(figure, ""),
            _number(figure["difference"]["value"], "+"),
            _range(figure["difference"], "+"),
            *(once if place == 0 else ("",) * len(once)),
        )


def _range(figure: Mapping[str, float | None], sign: str) -> str:
    if figure["low"] is None or figure["high"] is None:
        return ""
    return f"{_number(figure['low'], sign)} to {_number(figure['high'], sign)}"


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    # A rounding below what is shown is no difference, and has no sign.
    return "0" if sign and round(value, 4) == 0 else f"{value:{sign}.4f}"


def _quantized(target: TargetScore) -> str:
    from tritonpack.reports.evaluation import quantized_part

    part = quantized_part(target.layers)
    return f"quantized {part}" if part else ""
