"""What each precision costs and gains, on real models and real data: ``python recipes/zoo/precision.py [RECIPE...]``.

Evaluates the targets of each recipe beside FP32: the task's metric with its interval, cosine, size, speed and the
layers in INT8. Writes the page and a chart of each search; a second run finds everything in the store. Exit code 1
if a target that the project promises isn't met.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

import tritonpack
from tritonpack.cli.progress import watching
from tritonpack.core.machine import this_machine
from tritonpack.reports.sensitivity import svg_from_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.reports.documents import Evaluation, TargetScore

_FOLDER = Path(__file__).parent
_RECIPES = ("minilm", "sentiment", "pairs", "qa", "rampart", "minilm_small")
_TARGETS = {
    "cpu_fp32": "fp32",
    "rtx": "fp16",
    "cpu": "int8_dynamic",
    "cpu_int8_naive": "int8, naive",
    "cpu_int8": "int8, searched",
    "rtx_int8": "int8, searched, TensorRT-RTX",
}
_COLUMNS = ("precision", "metric", "95%", "to FP32", "95%", "same answers", "cosine", "MB", "speed", "in INT8")
_INT8_DROP, _INT8_SHARE, _FP16_DROP, _SPEED = 0.005, 0.6, 0.0005, 1.6
_WIDE = 150
_MB = 1e6


def promises(minilm: Evaluation) -> dict[str, bool]:
    """What must hold of the embedding model, and whether it does."""
    scores = {score.target: score for score in minilm.targets}
    products = scores["cpu_int8"].rewriting["quantized_matmuls"], scores["cpu_int8"].rewriting["kept_matmuls"]
    share, speed = products[0] / sum(products), scores["cpu"].speed_ratio or 0.0
    drops = {name: -_usual(score)["difference"]["value"] for name, score in scores.items()}
    compiles = "rtx_int8" in scores
    return {
        f"searched INT8 within 0.5 points of Spearman of FP32: {100 * drops['cpu_int8']:.2f}": drops["cpu_int8"]
        <= _INT8_DROP,
        f"at least 60% of the products with weights in INT8: {share:.0%}": share >= _INT8_SHARE,
        f"FP16 within 0.05 points: {100 * drops['rtx']:.3f}": drops["rtx"] <= _FP16_DROP,
        f"INT8 dynamic at least 1.6 times as fast as FP32: {speed:.2f}": speed >= _SPEED,
        f"the searched graph compiles in TensorRT-RTX: {compiles}": compiles,
    }


def _usual(score: TargetScore) -> dict[str, Any]:
    """The usual metric, which is the first, and the one that these recipes' gates hold."""
    metrics: dict[str, dict[str, Any]] = dict(score.score["metrics"])
    return next(iter(metrics.values()))


def _cells(score: TargetScore) -> tuple[str, ...]:
    figure, difference = _usual(score), _usual(score)["difference"]
    rewriting = score.rewriting
    products = rewriting.get("quantized_matmuls")
    return (
        _TARGETS[score.target],
        f"{figure['value']:.4f}",
        f"{figure['low']:.4f} to {figure['high']:.4f}",
        "" if score.precision == "fp32" else f"{difference['value']:+.4f}",
        "" if score.precision == "fp32" else f"{difference['low']:+.4f} to {difference['high']:+.4f}",
        f"{score.score['same_answers']} of {score.score['samples']}",
        "" if score.mean_cosine is None else f"{score.mean_cosine:.5f}",
        "" if score.size_bytes is None else f"{score.size_bytes / _MB:.1f}",
        "" if score.speed_ratio is None else f"{score.speed_ratio:.2f}",
        "" if products is None else f"{products} of {products + rewriting['kept_matmuls']}",
    )


def _title(found: Evaluation) -> str:
    score = found.targets[0].score
    metric = next(iter(score["metrics"]))
    against = f"against {score['against']}" + (f" ({score['origin']})" if score["origin"] else "")
    return f"{found.recipe}: {metric}, {score['samples']:,} samples, {against}"


def _table(found: Evaluation) -> Table:
    table = Table(*_COLUMNS, title=_title(found), title_justify="left")
    for score in found.targets:
        table.add_row(*_cells(score))
    return table


def _section(found: Evaluation, description: str, pictures: Path) -> list[str]:
    lines = [
        f"## {found.recipe}",
        "",
        f"{description} {_title(found).partition(': ')[2].capitalize()}.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{' --- |' * len(_COLUMNS)}",
        *(f"| {' | '.join(_cells(score))} |" for score in found.targets),
        "",
    ]
    lines += [f"{_TARGETS[name]} has no figures: {why}" for name, why in found.refused.items()]
    searched = next((score for score in found.targets if score.target == "cpu_int8" and score.layers), None)
    if searched is not None and searched.search is not None:
        (pictures / f"{found.recipe}.svg").write_text(svg_from_layers(searched.layers), encoding="utf-8")
        kept = [layer["name"] for layer in searched.layers if not layer["quantized"]]
        lines += [
            f"The search took {searched.search['trials']} trials and "
            + (f"kept in floating point: {', '.join(f'`{name}`' for name in kept)}." if kept else "kept nothing."),
            "",
            f"![Damage and gain of each group of layers of {found.recipe}]({pictures.name}/{found.recipe}.svg)",
            "",
        ]
    return lines


def _page(results: Sequence[Evaluation], descriptions: Sequence[str], pictures: Path) -> str:
    machine = this_machine()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "tensorrt-rtx-cu13"))
    held = promises(next(found for found in results if found.recipe == "minilm"))
    pictures.mkdir(parents=True, exist_ok=True)
    return "\n".join(
        [
            "# Precisions",
            "",
            "What each precision costs and gains, in process, on real models and real data. Written by",
            "`make precision`; not by hand. Intervals are of 95%, from 1,000 bootstrap resamples; the difference to",
            "FP32 is paired over the same samples. Cosines are of the graph's outputs to PyTorch's in FP32, on rows",
            "that nothing was fitted to (of few scores, what takes its place: `score_agreement_of`). Speed is FP32's",
            "time over the precision's on the same rows in batches of like length, both in one run by turns.",
            "",
            "- *fp16* and *TensorRT-RTX* were compiled for a GPU and not executed; their graphs were measured on the",
            "  CPU, every FP16 result rounded as a GPU rounds it. So they have no speed.",
            "- *same answers*: of embeddings, cosines of pairs that are the same to two decimals.",
            "- *to FP32* is to the model as it came, also where a recipe makes it smaller first.",
            "- *int8, naive*: every product with weights, ranges by the greatest value, as a tool without a search",
            "  makes it. *int8, searched*: this project's default.",
            "",
            *(line for pair in zip(results, descriptions, strict=True) for line in _section(*pair, pictures)),
            "## What the embedding model must hold",
            "",
            *(f"- {'held' if holds else '**missed**'}: {what}" for what, holds in held.items()),
            "",
            f"Machine: {machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}; no GPU used.",
            f"Versions: {versions}.",
            "",
        ]
    )


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RECIPE", help=f"{', '.join(_RECIPES)}; all by default")
    parser.add_argument("--report", type=Path, help="a page to write, in Markdown, with its charts beside it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(_RECIPES):
        parser.error(f"no recipe {', '.join(sorted(unknown))}")
    if arguments.report and arguments.names:
        parser.error("--report is of all recipes")
    results, descriptions = [], []
    for name in arguments.names or _RECIPES:
        recipe = tritonpack.load_recipe(_FOLDER / f"{name}.yaml")
        with watching(quiet=arguments.json) as observer:
            results.append(
                tritonpack.evaluate(recipe, [name for name in _TARGETS if name in recipe.targets], observer=observer)
            )
        descriptions.append(recipe.description)
        if not arguments.json:
            # A table in a log isn't folded.
            Console(width=None if sys.stdout.isatty() else _WIDE).print(_table(results[-1]))
    if arguments.json:
        sys.stdout.write(json.dumps([found.to_json() for found in results], indent=1) + "\n")
    if arguments.report:
        arguments.report.write_text(_page(results, descriptions, arguments.report.with_suffix("")), encoding="utf-8")
    held = [promises(found) for found in results if found.recipe == "minilm"]
    for what, holds in (item for one in held for item in one.items()):
        Console(stderr=True).print(f"{'held' if holds else 'MISSED'}: {what}", markup=False)
    return int(not all(holds for one in held for holds in one.values()))


if __name__ == "__main__":
    sys.exit(_main())
