"""`tritonpack build` and `tritonpack plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows
from tritonpack.cli.overlay import overlay_option
from tritonpack.cli.progress import watching

if TYPE_CHECKING:
    from tritonpack.api import Build
    from tritonpack.core.runner import Foreseen
    from tritonpack.stages.package import BuiltTarget

_RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
_STORE = click.option(
    "--store", type=click.Path(path_type=Path), help="Artifacts are kept here. Default: ~/.cache/tritonpack/store."
)


@click.command()
@_RECIPE
@click.option("--target", "targets", multiple=True, help="A target of the recipe; may be repeated. Default: the first.")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("model_repository"),
    show_default=True,
    help="The model repository to write.",
)
@click.option(
    "--budget-trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="Graphs that a search for INT8 layers may measure. Default: the target's quantization.trials.",
)
@overlay_option
@_STORE
@json_option
def build(
    recipe: Path,
    targets: tuple[str, ...],
    repository: Path,
    budget_trials: int | None,
    overlays: tuple[Path, ...],
    store: Path | None,
    as_json: bool,
) -> None:
    """Build RECIPE: PyTorch -> ONNX -> precision -> engine -> model repository, verified at each step."""
    from tritonpack.api import build as run_build
    from tritonpack.recipe import load_recipe

    loaded = load_recipe(recipe, overlays)
    with watching(quiet=as_json) as observer:
        result = run_build(
            loaded, targets, repository=repository, store=store, observer=observer, budget_trials=budget_trials
        )
    if as_json:
        print_json(document_from_build(loaded.name, result))
    else:
        _print_build(loaded.name, result)


@click.command()
@_RECIPE
@click.option("--target", "targets", multiple=True, help="A target of the recipe; may be repeated. Default: every one.")
@overlay_option
@_STORE
@json_option
def plan(recipe: Path, targets: tuple[str, ...], overlays: tuple[Path, ...], store: Path | None, as_json: bool) -> None:
    """Show what `build` would run for RECIPE: hit or miss, without running it."""
    from tritonpack.api import plan as foresee
    from tritonpack.recipe import load_recipe

    foreseen, impossible = foresee(load_recipe(recipe, overlays), targets, store=store)
    if as_json:
        print_json(
            {
                "targets": {name: [_foreseen_row(step) for step in steps] for name, steps in foreseen.items()},
                "unsupported": {name: {"message": e.message, "hint": e.hint} for name, e in impossible.items()},
            }
        )
        return
    for name, steps in foreseen.items():
        rows = [(s.action.description, s.outcome.value, s.record and f"{s.record.seconds:.1f} s then") for s in steps]
        stdout().print(table_from_rows(f"target {name}", ("step", "store", ">time"), rows))
        stdout().print()
    for name, error in impossible.items():
        stdout().print(
            Text.assemble((f"target {name}", "bold"), f" can't be built here: {error.message}\n  {error.hint}")
        )


def document_from_build(name: str, result: Build) -> dict[str, Any]:
    """What ``build --json`` prints."""
    return {
        "recipe": name,
        "repository": str(result.repository) if result.packaged else None,
        "repository_changed": bool(result.packaged and result.packaged.changed),
        "served_targets": list(result.packaged.served) if result.packaged else [],
        "dropped_targets": list(result.packaged.dropped) if result.packaged else [],
        "engine_files": {target: str(path) for target, path in result.engine_files.items()},
        "steps": [
            {"stage": s.action.stage, "description": s.action.description, "outcome": s.outcome.value,
             "seconds": s.record.seconds, "sha256": s.record.digest, "size": s.record.size}
            for s in result.steps
        ],
        "targets": {target.name: target.to_json() for target in result.targets},
    }  # fmt: skip


def _foreseen_row(step: Foreseen) -> dict[str, Any]:
    return {"stage": step.action.stage, "description": step.action.description, "outcome": step.outcome.value}


def _print_build(name: str, result: Build) -> None:
    console = stdout()
    for target in result.targets:
        rows = [row for report in target.verification for row in _verification_rows(report)]
        columns = ("candidate", ">max / mean error", ">min / mean cosine", "gate", "result")
        title = f"{name}, target {target.name} ({target.precision}), against PyTorch FP32"
        console.print(table_from_rows(title, columns, rows))
        for line in (*_refusals(target), *_searches(target)):
            console.print(line, markup=False)
        console.print()
    hits = sum(step.outcome == "hit" for step in result.steps)
    ran = [step for step in result.steps if step.outcome == "ran"]
    console.print(
        f"{len(result.steps)} actions: {hits} hit, {len(ran)} ran in {sum(s.record.seconds for s in ran):.1f} s"
    )
    if result.packaged:
        state = "written" if result.packaged.changed else "unchanged"
        served = ", ".join(result.packaged.served)
        console.print(f"model repository {result.repository}: {state}; targets {served}", markup=False)
        for name_ in result.packaged.dropped:
            console.print(
                f"[yellow]target {name_} was removed: it is of another model, or its file is damaged; build it again[/]"
            )
    for name_, path in result.engine_files.items():
        console.print(f"engine of target {name_} (no Triton backend loads it): {path}", markup=False)


def _verification_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    candidate = report["candidate"].removeprefix("ONNX ")
    if "speedup" in report:
        change = f"{report['speedup']:.2f} x {report['safer']}"
        return [(f"{candidate}: speed", change, "", f"speedup>={report['min_speedup']:g}", report["status"])]
    if "metric" in report:
        change = f"{report['baseline']:.4f} -> {report['candidate_value']:.4f}"
        return [(f"{candidate}: {report['metric']}", change, "", f"drop<={report['max_drop']:g}", report["status"])]
    if "outputs" not in report:
        return [(candidate, "", "", report["status"], "")]
    return [
        (
            candidate,
            f"{a['max_abs_error']:.1e} / {a['mean_abs_error']:.1e}",
            f"{a['min_cosine']:.5f} / {a['mean_cosine']:.5f}",
            _gate(report["gate"]),
            report["status"],
        )
        for a in report["outputs"].values()
    ]


def _refusals(target: BuiltTarget) -> list[str]:
    return [f"{refused['precision']} was refused: {refused['why']}" for refused in target.refused]


def _searches(target: BuiltTarget) -> list[str]:
    """What a search chose, in a line."""
    from tritonpack.reports.evaluation import quantized_part

    found = [step["facts"] for step in target.lineage if step["stage"] == "search" and step["facts"]["layers"]]
    lines = []
    for facts in found:
        kept = [layer["name"] for layer in facts["layers"] if not layer["quantized"]]
        lines.append(
            f"{quantized_part(facts['layers'])} in {target.precision}, after {facts['trials']} trials"
            + (f"; kept in floating point: {', '.join(kept)}" if kept else "")
        )
    return lines


def _gate(gate: dict[str, float | None]) -> str:
    """The bounds of a gate, short: error, then least and mean cosine."""
    signs = {"max_abs_error": "err<=", "min_cosine": "cos>=", "mean_cosine": "mean>="}
    return " ".join(f"{sign}{gate[name]:g}" for name, sign in signs.items() if gate[name] is not None)
