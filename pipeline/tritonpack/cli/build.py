"""`tritonpack build` and `tritonpack plan`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from tritonpack.cli.output import json_option, print_json, stderr, stdout, table_from_rows

if TYPE_CHECKING:
    from tritonpack.api import Build
    from tritonpack.core.action import Action
    from tritonpack.core.runner import Foreseen, Step

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
@_STORE
@json_option
def build(recipe: Path, targets: tuple[str, ...], repository: Path, store: Path | None, as_json: bool) -> None:
    """Build RECIPE: PyTorch -> ONNX -> precision -> engine -> model repository, verified at each step."""
    from tritonpack.api import build as run_build
    from tritonpack.recipe import load_recipe

    loaded = load_recipe(recipe)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        console=stderr(),
        transient=True,
        disable=as_json or not stderr().is_terminal,
    )
    with progress, _WarningsOn(progress):
        result = run_build(
            loaded, targets, repository=repository, store=store, observer=_Watcher(progress, quiet=as_json)
        )
    if as_json:
        print_json(document_from_build(loaded.name, result))
    else:
        _print_build(loaded.name, result)


@click.command()
@_RECIPE
@click.option("--target", "targets", multiple=True, help="A target of the recipe; may be repeated. Default: every one.")
@_STORE
@json_option
def plan(recipe: Path, targets: tuple[str, ...], store: Path | None, as_json: bool) -> None:
    """Show what `build` would run for RECIPE: hit or miss, without running it."""
    from tritonpack.api import plan as foresee
    from tritonpack.recipe import load_recipe

    foreseen, impossible = foresee(load_recipe(recipe), targets, store=store)
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


class _Watcher:
    """Shows the running action; with ``--json`` standard error is left to warnings and the error."""

    def __init__(self, progress: Progress, *, quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._rows: dict[Action, Any] = {}

    def started(self, action: Action) -> None:
        self._rows[action] = self._progress.add_task(action.description, total=None)

    def finished(self, step: Step) -> None:
        row = self._rows.pop(step.action, None)
        if row is not None:
            self._progress.remove_task(row)
        if row is not None and not self._quiet:
            self._progress.console.print(f"  {step.action.description}: {step.record.seconds:.1f} s", style="dim")


class _WarningsOn(logging.Handler):
    """Warnings of the store and the stages go above the progress bar."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.console.print(Text.assemble(("warning: ", "yellow"), record.getMessage()))

    def __enter__(self) -> None:
        logging.getLogger("tritonpack").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tritonpack").removeHandler(self)


def _foreseen_row(step: Foreseen) -> dict[str, Any]:
    return {"stage": step.action.stage, "description": step.action.description, "outcome": step.outcome.value}


def _print_build(name: str, result: Build) -> None:
    console = stdout()
    for target in result.targets:
        rows = [row for report in target.verification for row in _verification_rows(report)]
        columns = ("candidate", ">max / mean error", ">min / mean cosine", "gate", "result")
        console.print(table_from_rows(f"{name}, target {target.name}, against PyTorch FP32", columns, rows))
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


def _gate(gate: dict[str, float | None]) -> str:
    """The bounds of a gate, short: error, then least and mean cosine."""
    signs = {"max_abs_error": "err<=", "min_cosine": "cos>=", "mean_cosine": "mean>="}
    return " ".join(f"{sign}{gate[name]:g}" for name, sign in signs.items() if gate[name] is not None)
