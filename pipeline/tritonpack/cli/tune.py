"""`tritonpack tune`."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonpack.cli.output import json_option, print_json, stderr, stdout, table_from_rows
from tritonpack.cli.overlay import overlay_option
from tritonpack.core.errors import LoadTestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

    from tritonpack.recipe import Recipe
    from tritonpack.tuning.measure import Load
    from tritonpack.tuning.plan import TuningPlan
    from tritonpack.tuning.study import Trial
    from tritonpack.tuning.tune import Tuned

_US_PER_MS = 1000
_SHOWN = 8
"""Trials that the table shows; the page has all."""


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--slo", required=True, metavar="OBJECTIVE",
              help="What has to be kept, e.g. 'p99<=25ms'.")  # fmt: skip
@click.option("--target", "targets", multiple=True, metavar="NAME",
              help="A target of the recipe; may be repeated. Default: every one that can be served here.")  # fmt: skip
@click.option("--precision", "precisions", multiple=True, metavar="NAME",
              help="Try this precision too, beside those that a target has; may be repeated.")  # fmt: skip
@click.option("--trials", type=int, default=24, show_default=True, metavar="N",
              help="Settings to try, the recipe's own included.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=float, metavar="S",
              help="Begin no trial later than this many seconds after the first.")  # fmt: skip
@click.option("--sampler", type=click.Choice(["tpe", "random", "grid"]), default="tpe", show_default=True,
              help="How settings are proposed.")  # fmt: skip
@click.option("--window", "window_s", type=float, default=2.0, show_default=True, metavar="S",
              help="The shortest measurement; what does well is measured for two and four times as long.")  # fmt: skip
@click.option("--max-concurrency", type=int, default=64, show_default=True, metavar="N",
              help="The most requests in flight.")  # fmt: skip
@click.option("--rounds", type=int, default=7, show_default=True, metavar="N",
              help="In which the best settings and the recipe's own are measured in turns at the end.")  # fmt: skip
@click.option("--generator", type=click.Choice(["perf_analyzer", "python"]), default="perf_analyzer",
              show_default=True, help="What sends the requests.")  # fmt: skip
@click.option("--texts", "texts_file", type=click.Path(path_type=Path), metavar="FILE",
              help="One text a line; a pair has a tabulator between. Default: 200 English texts.")  # fmt: skip
@click.option("--study", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Keep the search in this SQLite file, or go on with it.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The overlay to write. Default: NAME.tuned.yaml beside the recipe.")  # fmt: skip
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The page to write. Default: beside the overlay.")  # fmt: skip
@overlay_option
@click.option("--store", type=click.Path(path_type=Path),
              help="Artifacts are kept here. Default: ~/.cache/tritonpack/store.")  # fmt: skip
@json_option
def tune(
    recipe: Path,
    slo: str,
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    trials: int,
    timeout_s: float | None,
    sampler: str,
    window_s: float,
    max_concurrency: int,
    rounds: int,
    generator: str,
    texts_file: Path | None,
    study: Path | None,
    output: Path | None,
    html_file: Path | None,
    overlays: tuple[Path, ...],
    store: Path | None,
    as_json: bool,
) -> None:
    """Search the settings with which RECIPE serves the most requests a second and keeps --slo.

    Batch, delay, instances, threads, target and precision are tried against a real server of the whole ensemble,
    with more and more requests in flight; what lags behind is given up early. The best is measured against the
    recipe's own settings in turns, and written as an overlay only if it wins beyond the noise: `tritonpack build
    RECIPE --overlay FILE`. Exit codes: 0 done, also where the recipe's own settings stay; 2 the recipe, the study or
    an option is wrong; 3 nothing can be served here; 4 a stage failed; 5 a file can't be written; 6 the server
    failed, or nothing keeps --slo.
    """
    from tritonpack.loadtest.slo import parse_slo
    from tritonpack.recipe import load_recipe
    from tritonpack.reports.page import write_page
    from tritonpack.tuning.evidence import document_from_tuned, reason_of, write_overlay
    from tritonpack.tuning.page import html_from_tuned
    from tritonpack.tuning.plan import TuningPlan, check_plan
    from tritonpack.tuning.study import Sampler

    plan = TuningPlan(
        parse_slo(slo), targets, precisions, trials, timeout_s, Sampler(sampler), window_s, max_concurrency, rounds,
        study,
    )  # fmt: skip
    check_plan(plan)
    loaded = load_recipe(recipe, overlays)
    output = output or recipe.with_name(f"{recipe.stem}.tuned.yaml")
    html_file = html_file or output.with_suffix(".html")
    tuned = _tuned(loaded, plan, generator, texts_file, store, quiet=as_json)
    write_page(html_from_tuned(tuned), html_file)
    if tuned.result == "infeasible":
        raise LoadTestError(
            reason_of(tuned), hint=f"allow more time, or see {html_file}; no overlay was written", slo=str(plan.slo)
        )
    if tuned.overlay is not None:
        write_overlay(tuned, output)
    if as_json:
        files = {"overlay_file": output if tuned.overlay is not None else None, "html": html_file}
        print_json(document_from_tuned(tuned) | files)
        return
    print_tuned(tuned)
    if tuned.overlay is not None:
        stdout().print(f"overlay  {output}", markup=False)
    stdout().print(f"page     {html_file}", markup=False)


def _tuned(
    recipe: Recipe, plan: TuningPlan, generator: str, texts_file: Path | None, store: Path | None, *, quiet: bool
) -> Tuned:
    from tritonpack.cli.progress import watching
    from tritonpack.loadtest.texts import DEFAULT_TEXTS, summary_from_texts, texts_from_file
    from tritonpack.tuning.tune import tune as search

    texts = texts_from_file(texts_file or DEFAULT_TEXTS)
    summary = asdict(summary_from_texts(texts, (texts_file or DEFAULT_TEXTS).name))
    load = _load(generator, texts)
    with watching(quiet=quiet) as observer, _trials(plan, quiet=quiet) as watcher:
        return search(recipe, plan, load, summary, store=store, observer=observer, watcher=watcher)


def _load(generator: str, texts: Sequence[str]) -> Load:
    from tritonpack.loadtest.install import ensure_perf_analyzer
    from tritonpack.tuning.loads import PerfAnalyzerLoad, PythonLoad

    if generator == "python":
        return PythonLoad(texts)
    console = stderr()
    return PerfAnalyzerLoad(ensure_perf_analyzer(lambda line: console.print(line, markup=False)), texts)


@contextmanager
def _trials(plan: TuningPlan, *, quiet: bool) -> Iterator[_Trials]:
    """One bar over the trials, what is measured beside it, and a line for each trial that ended."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = stderr()
    disable = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=disable) as bars:
        yield _Trials(bars, plan.trials, quiet=quiet)


class _Trials:
    """Shows trials as they go by; with ``--json`` standard error is left to warnings and the error."""

    def __init__(self, bars: Progress, trials: int, *, quiet: bool) -> None:
        self._bars = bars
        self._quiet = quiet
        self._row = bars.add_task("", total=trials)

    def says(self, line: str) -> None:
        """Show what is done now."""
        self._bars.update(self._row, description=line)

    def finished(self, trial: Trial, best: Trial | None) -> None:
        """Print a trial, and the best so far."""
        self._bars.update(self._row, completed=trial.number + 1)
        if not self._quiet:
            so_far = "" if best is None or best.number == trial.number else f"; best so far {_worth(best)}"
            line = f"  trial {trial.number}: {trial.settings.label}: {_worth(trial)}{so_far}"
            self._bars.console.print(line, style="dim", markup=False)


def _worth(trial: Trial) -> str:
    if trial.best is None:
        return f"failed: {trial.error}"
    best = trial.best
    speed = f"{best.throughput_per_s:.0f}/s, p99 {_ms(best.latency_us['p99'])} ms at {best.concurrency}"
    ending = "" if trial.outcome == "complete" else f", {trial.outcome}"
    return f"{speed}{ending}" if best.holds else f"{speed}: {best.excess:.2f} times the limit{ending}"


def print_tuned(tuned: Tuned) -> None:
    """Print the best trials, and what became of the recipe's own settings."""
    from tritonpack.tuning.evidence import reason_of

    columns = ("trial", "settings", ">in flight", ">requests/s", ">p50, ms", ">p99, ms", ">of the limit", "outcome")
    ranked = sorted(tuned.trials, key=lambda trial: -trial.value)[:_SHOWN]
    if tuned.own not in ranked:
        ranked.append(tuned.own)
    rows = [(_name(trial, tuned), trial.settings.label, *_figures(trial), trial.outcome) for trial in ranked]
    console = stdout()
    console.print(table_from_rows(f"{tuned.recipe}, {tuned.plan.slo}, {tuned.load}", columns, rows))
    for name, reason in tuned.left_out.items():
        console.print(f"{name} wasn't searched: {reason}", markup=False, style="yellow")
    console.print(f"{tuned.result}: {reason_of(tuned)}", markup=False)


def _name(trial: Trial, tuned: Tuned) -> str:
    return f"{trial.number} (own)" if trial.number == tuned.own.number else str(trial.number)


def _figures(trial: Trial) -> tuple[str, ...]:
    if trial.best is None:
        return ("",) * 5
    best = trial.best
    return (
        str(best.concurrency),
        f"{best.throughput_per_s:.1f}",
        _ms(best.latency_us["p50"]),
        _ms(best.latency_us["p99"]),
        f"{best.excess:.2f}",
    )


def _ms(microseconds: float) -> str:
    return f"{microseconds / _US_PER_MS:.1f}"
