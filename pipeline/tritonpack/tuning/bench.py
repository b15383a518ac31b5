"""Settings, served and measured: alone by a search, and in turns with the recipe's own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tritonpack.api import check_targets
from tritonpack.core.errors import LoadTestError, ModelLoadError, StageError, UnsupportedError
from tritonpack.engines import ENGINES
from tritonpack.tuning.confirm import Verdict, confirmed
from tritonpack.tuning.measure import Climb, point_from_level, served
from tritonpack.tuning.space import own_settings
from tritonpack.tuning.study import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tritonpack.core.runner import Observer
    from tritonpack.recipe import Recipe
    from tritonpack.tuning.confirm import Confirmation
    from tritonpack.tuning.measure import Load, Point
    from tritonpack.tuning.plan import TuningPlan, Watcher
    from tritonpack.tuning.space import Settings
    from tritonpack.tuning.study import Trial

_MOST_CANDIDATES = 3
"""Settings that are measured against the recipe's own, as long as those before miss the objective after all."""
_ROUND_WINDOWS = 2


class Bench:
    """Serves settings of one recipe and measures them.

    Args:
        recipe: what is served.
        plan: the objective, and how long to measure.
        load: what keeps requests in flight.
        store: where artifacts are kept.
        watcher: told what is done.
    """

    def __init__(self, recipe: Recipe, plan: TuningPlan, load: Load, store: Path | None, watcher: Watcher) -> None:
        self._recipe = recipe
        self._plan = plan
        self._load = load
        self._store = store
        self.watcher = watcher

    def variants(self, observer: Observer | None) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Targets with their precisions that can be built and served here, and why others can't.

        Raises:
            UnsupportedError: none can.
        """
        check_targets(self._recipe, self._plan.targets)
        possible, left_out = [], {}
        for target in self._plan.targets or tuple(self._recipe.targets):
            spec = self._recipe.targets[target]
            engine = ENGINES.get(spec.engine)
            if engine.triton is None or not engine.can_execute():
                left_out[target] = f"engine {spec.engine} can't be served on this machine"
                continue
            for precision in dict.fromkeys((*spec.precisions, *self._plan.precisions)):
                settings = own_settings(self._recipe, target, precision)
                try:
                    self._prove(settings, observer)
                except (StageError, UnsupportedError, ModelLoadError) as error:
                    left_out[settings.variant] = error.message
                else:
                    possible.append((target, precision))
        if not possible:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise UnsupportedError(
                f"nothing of {self._recipe.name} can be built and served here: {reasons}",
                hint="`tritonpack tune` measures what the embedded server runs: engines onnxruntime and openvino.",
            )
        return possible, left_out

    def _prove(self, settings: Settings, observer: Observer | None) -> None:
        """Build and load a variant once, so that no trial fails for it."""
        self.watcher.says(f"building {settings.variant}")
        with served(self._recipe, settings, self._store, observer):
            self.watcher.says(f"{settings.variant} can be served")

    def attempt(self, number: int, settings: Settings, climbed: Callable[[Climb], Point]) -> Point:
        """Serve settings, and have a climb's rungs run."""
        self.watcher.says(f"trial {number}: {settings.label}")
        with served(self._recipe, settings, self._store) as server:
            measure = partial(self._measured, server.grpc_url, f"trial {number}: {settings.label}")
            return climbed(Climb(measure, self._plan.window_s, self._plan.max_concurrency))

    def _measured(self, url: str, what: str, concurrency: int, duration_s: float) -> Point:
        self.watcher.says(f"{what}, {concurrency} in flight for {duration_s:g} s")
        try:
            level = self._load(url, self._recipe.name, concurrency, duration_s)
        except LoadTestError as error:
            # On a busy machine perf_analyzer finds no stable window now and then; hours of search must not end so.
            self.watcher.says(f"{what}: once more, as {error.message}")
            level = self._load(url, self._recipe.name, concurrency, duration_s)
        return point_from_level(level, concurrency, duration_s, self._plan.slo)

    def confirm(self, own: Trial, trials: Sequence[Trial]) -> tuple[Trial | None, Confirmation | None]:
        """Measure the best against the recipe's own; the next best, where it misses the objective after all."""
        # The machine's pace may have changed since the recipe's own were measured, so they needn't look better.
        others = [
            trial for trial in trials if trial is not own and trial.outcome is Outcome.COMPLETE and trial.value > 0
        ]
        found, confirmation = None, None
        for found in sorted(others, key=lambda trial: -trial.value)[:_MOST_CANDIDATES]:
            confirmation = self._against(own, found)
            if confirmation.verdict is not Verdict.MISSES:
                break
        return found, confirmation

    def _against(self, own: Trial, found: Trial) -> Confirmation:
        with (
            served(self._recipe, own.settings, self._store) as first,
            served(self._recipe, found.settings, self._store) as second,
        ):
            duration_s = _ROUND_WINDOWS * self._plan.window_s
            mine = partial(self._measured, first.grpc_url, "confirming: the recipe's own settings")
            other = partial(self._measured, second.grpc_url, f"confirming: trial {found.number}")
            return confirmed(
                lambda: mine(own.concurrency, duration_s),
                lambda: other(found.concurrency, duration_s),
                self._plan.rounds,
            )
