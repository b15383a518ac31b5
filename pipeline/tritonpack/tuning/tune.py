"""From a recipe and a service level objective to the settings that serve the most, with their evidence."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tritonpack.core.digest import digest_of_json
from tritonpack.core.errors import ConfigurationError, ServerError
from tritonpack.core.machine import this_machine
from tritonpack.core.versions import version_of
from tritonpack.engines import ENGINES
from tritonpack.tuning.bench import Bench
from tritonpack.tuning.confirm import Verdict
from tritonpack.tuning.plan import Silent, check_plan
from tritonpack.tuning.space import Space, own_settings
from tritonpack.tuning.study import Outcome, Search

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tritonpack.core.machine import Machine
    from tritonpack.core.runner import Observer
    from tritonpack.recipe import Recipe
    from tritonpack.tuning.confirm import Confirmation
    from tritonpack.tuning.measure import Load
    from tritonpack.tuning.plan import TuningPlan, Watcher
    from tritonpack.tuning.study import Trial

_PACKAGES = ("optuna", "matplotlib", "jinja2")
"""Missed now rather than when hours have been measured."""
_HINT = "pip install 'tritonpack[tune]'"


class Result(StrEnum):
    """What a search ended with."""

    TUNED = "tuned"
    """Other settings than the recipe's own are better, beyond the noise."""
    KEPT = "kept"
    """None is better than the recipe's own, or not beyond the noise."""
    INFEASIBLE = "infeasible"
    """Nothing keeps the objective."""


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        recipe: its name.
        started_at: UTC, ISO 8601.
        load: the generator's name and version.
        texts: what was sent, as data.
        versions: of what was measured, by name.
        trials: every one.
        own: the trial of the recipe's own settings.
        found: the best of the others; None if none of them keeps the objective.
        confirmation: ``found`` against ``own``.
        overlay: what has to be laid over the recipe; None unless the result is ``tuned``.
        left_out: targets and precisions that weren't searched, and why.
    """

    recipe: str
    plan: TuningPlan
    started_at: str
    machine: Machine
    load: str
    texts: Mapping[str, Any]
    versions: Mapping[str, str]
    trials: tuple[Trial, ...]
    own: Trial
    found: Trial | None
    confirmation: Confirmation | None
    overlay: Mapping[str, Any] | None
    left_out: Mapping[str, str]

    @property
    def result(self) -> Result:
        """Whether the recipe's own settings stay."""
        if self.overlay is not None:
            return Result.TUNED
        held = self.own.best is not None and self.own.best.holds
        return Result.KEPT if held else Result.INFEASIBLE


def tune(
    recipe: Recipe,
    plan: TuningPlan,
    load: Load,
    texts: Mapping[str, Any],
    *,
    store: Path | None = None,
    observer: Observer | None = None,
    watcher: Watcher | None = None,
) -> Tuned:
    """Search the settings with which a recipe serves the most and keeps a service level objective.

    Args:
        recipe: what is served.
        plan: the objective, and how long to search.
        load: what keeps requests in flight.
        texts: what it sends, as data, for the evidence.
        store: where artifacts are kept; None means `tritonpack.api.default_store`.
        observer: told of every action of the builds before the search.
        watcher: told of every trial.

    Raises:
        ConfigurationError: the plan makes no sense, or its study is of something else.
        MissingExtraError: a package of the extra ``tune`` isn't installed.
        UnsupportedError: no target can be built and served here.
        ServerError: the recipe's own settings can't be measured.
        TritonpackError: what a build raises.
    """
    check_plan(plan)
    for package in _PACKAGES:
        version_of(package, hint=_HINT)
    bench = Bench(recipe, plan, load, store, watcher or Silent())
    started_at, machine = datetime.now(UTC).isoformat(timespec="seconds"), this_machine()
    variants, left_out = bench.variants(observer)
    space = Space.of_recipe(recipe, variants, len(os.sched_getaffinity(0)))
    own = own_settings(recipe, *variants[0])
    fingerprint = {
        "recipe": f"{recipe.name} ({digest_of_json(recipe.model_dump(mode='json', exclude={'description'}))[:12]})",
        "SLO": str(plan.slo),
        "machine": f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB",
        "set of texts": digest_of_json(dict(texts))[:12],
        "generator": load.name,
        "window": plan.window_s,
        "space": {name: [str(value) for value in values] for name, values in space.lists.items()},
    }
    with _locked(plan.study):
        search = Search(space, own, plan.sampler, fingerprint, plan.study)
        for trial in search.run(bench.attempt, plan.trials, plan.timeout_s):
            bench.watcher.finished(trial, best_trial(search.trials))
            if trial.settings == own and trial.best is None:
                raise ServerError(
                    f"the recipe's own settings can't be measured: {trial.error}",
                    hint="serve the recipe and load it: `tritonpack serve`, `tritonpack bench`",
                )
        trials = search.trials
    first = next(trial for trial in trials if trial.settings == own and trial.best)
    found, confirmation = bench.confirm(first, trials)
    return Tuned(
        recipe=recipe.name,
        plan=plan,
        started_at=started_at,
        machine=machine,
        load=load.name,
        texts=texts,
        versions=_versions(recipe, space.variants),
        trials=tuple(trials),
        own=first,
        found=found,
        confirmation=confirmation,
        overlay=_overlay(recipe, found, confirmation),
        left_out=left_out,
    )


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The best of those that were measured to the end."""
    return max((trial for trial in trials if trial.outcome is Outcome.COMPLETE), key=lambda t: t.value, default=None)


def _overlay(recipe: Recipe, found: Trial | None, confirmation: Confirmation | None) -> dict[str, Any] | None:
    if found is None or confirmation is None or confirmation.verdict not in {Verdict.FASTER, Verdict.HOLDS}:
        return None
    return found.settings.overlay(recipe)


def _versions(recipe: Recipe, variants: Sequence[tuple[str, str]]) -> dict[str, str]:
    engines = {recipe.targets[target].engine for target, _ in variants}
    return {
        "optuna": version_of("optuna", hint=_HINT),
        **{engine: ENGINES.get(engine).identity() for engine in sorted(engines)},
    }


@contextmanager
def _locked(study: Path | None) -> Iterator[None]:
    """One search at a time goes on with a study."""
    if study is None:
        yield
        return
    study.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(study.with_name(f"{study.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigurationError(
            f"another search uses the study {study} now", hint="Wait for it, or name another file.", field="--study"
        ) from error
    try:
        yield
    finally:
        lock.release()
