"""The search: Optuna proposes settings, and gives up those that lag behind.

A study that is kept in a file goes on where it was left, but only if it is of the same thing: the fingerprint says of
what. Trials are read back from the study alone, so a search that was resumed reports like one that wasn't.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import ConfigurationError, ServerError
from tritonpack.tuning.measure import RUNGS, Point, value_of
from tritonpack.tuning.space import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import optuna

    from tritonpack.tuning.measure import Climb
    from tritonpack.tuning.space import Space

_NAME = "tritonpack"
_FINGERPRINT, _SETTINGS, _POINTS, _BEST, _ERROR, _SAME_AS = (
    "fingerprint", "settings", "points", "best", "error", "same_as",
)  # fmt: skip
# Hyperband shows TPE the trials of one of its three brackets at a time, so these come three times.
_STARTUP_TRIALS = 4
_MOST_REPEATS = 50
"""Settings that were measured before and are proposed again, one after the other, until the search ends."""


class Sampler(StrEnum):
    """How settings are proposed."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"


class Outcome(StrEnum):
    """What became of a trial."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """Given up, as others did better in so short a time."""
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        number: in the order in which they began.
        points: everything that was measured.
        best: the best load of the longest measurements; None if there was none.
        error: why it failed.
    """

    number: int
    settings: Settings
    outcome: Outcome
    points: tuple[Point, ...]
    best: Point | None
    error: str = ""

    @property
    def value(self) -> float:
        """What the search makes greatest."""
        return float("-inf") if self.best is None else value_of(self.best)

    @property
    def concurrency(self) -> int:
        """Requests in flight of the best load; 1 where nothing was measured."""
        return 1 if self.best is None else self.best.concurrency

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "number": self.number,
            "settings": self.settings.as_dict(),
            "outcome": self.outcome,
            "error": self.error,
            "best": None if self.best is None else self.best.as_dict(),
            "points": [point.as_dict() for point in self.points],
        }


class Search:
    """A study of one recipe on one machine.

    Args:
        space: what may be proposed.
        own: the recipe's own settings, which are tried first.
        sampler: how settings are proposed.
        fingerprint: what the study is of; values are compared as JSON.
        file: SQLite; None keeps the study in memory.

    Raises:
        ConfigurationError: the file holds a study of something else, or isn't a study.
    """

    def __init__(
        self, space: Space, own: Settings, sampler: Sampler, fingerprint: Mapping[str, Any], file: Path | None
    ) -> None:
        self._space = space
        self._own = own
        with _explained(file):
            self._study = _opened(space, sampler, file)
            known = self._study.user_attrs.get(_FINGERPRINT)
        if known is None:
            self._study.set_user_attr(_FINGERPRINT, dict(fingerprint))
        elif differing := [name for name in fingerprint if known.get(name) != fingerprint[name]]:
            raise _another_study(file, differing[0], known.get(differing[0]), fingerprint[differing[0]])
        self._abandon_running()
        if not any(trial.settings == own and trial.best for trial in self.trials):
            self._study.enqueue_trial(space.places(own))

    @property
    def trials(self) -> list[Trial]:
        """Every trial that was measured or failed, in the order of their numbers."""
        return [_trial(trial) for trial in self._ended]

    @property
    def _ended(self) -> list[optuna.trial.FrozenTrial]:
        """Without repetitions, and without those that were cut off."""
        finished = [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]
        own = [trial for trial in finished if _SETTINGS in trial.user_attrs and _SAME_AS not in trial.user_attrs]
        return [trial for trial in own if trial.state.name != "FAIL" or _ERROR in trial.user_attrs]

    def run(
        self, attempt: Callable[[int, Settings, Callable[[Climb], Point]], Point], trials: int, timeout_s: float | None
    ) -> Iterator[Trial]:
        """Try settings until there are so many trials; yields each when it has ended.

        Args:
            attempt: called with the trial's number, its settings and a function that runs a `Climb`'s rungs; it has
                a server started, calls that function and returns what it returns.
            trials: altogether, those of earlier runs included.
            timeout_s: no trial begins later than this.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        repeats = 0

        def objective(trial: optuna.Trial) -> float:
            settings = self._suggested(trial)
            for known in self._ended:
                if known.user_attrs[_SETTINGS] == settings.as_dict() and known.state.name != "FAIL":
                    return _repeated(trial, known)
            try:
                return value_of(attempt(trial.number, settings, lambda climb: self._climbed(trial, settings, climb)))
            except ServerError as error:
                trial.set_user_attr(_ERROR, error.message)
                raise

        while len(self.trials) < min(trials, self._space.size) and repeats < _MOST_REPEATS:
            if deadline is not None and time.monotonic() >= deadline:
                return
            before = len(self.trials)
            self._study.optimize(objective, n_trials=1, catch=(ServerError,))
            if len(self.trials) > before:
                repeats = 0
                yield self.trials[-1]
            else:
                repeats += 1

    def _suggested(self, trial: optuna.Trial) -> Settings:
        lists = self._space.lists
        places = {
            # Neighbours in these lists are alike; those of the others are just different.
            name: trial.suggest_int(name, 0, len(lists[name]) - 1)
            if name in {"max_batch", "queue_delay"}
            else trial.suggest_categorical(name, range(len(lists[name])))
            for name in lists
        }
        settings = self._space.settings(places)
        trial.set_user_attr(_SETTINGS, settings.as_dict())
        return settings

    def _climbed(self, trial: optuna.Trial, settings: Settings, climb: Climb) -> Point:
        """Run the rungs; the recipe's own settings are measured to the end whatever they are worth."""
        import optuna

        for windows in RUNGS:
            best = climb.rung(windows)
            trial.set_user_attr(_POINTS, [point.as_dict() for point in climb.points])
            trial.set_user_attr(_BEST, best.as_dict())
            trial.report(value_of(best), windows)
            if windows != RUNGS[-1] and settings != self._own and trial.should_prune():
                raise optuna.TrialPruned
        return best

    def _abandon_running(self) -> None:
        """A trial that runs while nobody searches was cut off; it doesn't count."""
        import optuna

        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _repeated(trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> float:
    """Answer as the same settings were answered before, without measuring again."""
    import optuna

    trial.set_user_attr(_SAME_AS, earlier.number)
    for step, value in earlier.intermediate_values.items():
        trial.report(value, step)
    if earlier.state == optuna.trial.TrialState.PRUNED or earlier.value is None:
        raise optuna.TrialPruned
    return earlier.value


def _trial(trial: optuna.trial.FrozenTrial) -> Trial:
    attributes = trial.user_attrs
    best = attributes.get(_BEST)
    outcomes = {"COMPLETE": Outcome.COMPLETE, "PRUNED": Outcome.PRUNED}
    return Trial(
        trial.number,
        Settings(**attributes[_SETTINGS]),
        outcomes.get(trial.state.name, Outcome.FAILED),
        tuple(Point(**point) for point in attributes.get(_POINTS, ())),
        None if best is None else Point(**best),
        attributes.get(_ERROR, ""),
    )


def _opened(space: Space, sampler: Sampler, file: Path | None) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    storage = None if file is None else f"sqlite:///{file.resolve()}"
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=storage,
        study_name=_NAME,
        direction="maximize",
        pruner=optuna.pruners.HyperbandPruner(min_resource=RUNGS[0], max_resource=RUNGS[-1], reduction_factor=2),
        load_if_exists=True,
    )
    study.sampler = _sampler(space, sampler, begun=len(study.get_trials(deepcopy=False)))
    return study


def _sampler(space: Space, sampler: Sampler, begun: int) -> optuna.samplers.BaseSampler:
    import optuna

    # A resumed search must not propose anew what the first one began with; a grid's order must stay the same.
    seed = 0 if sampler is Sampler.GRID else begun
    match sampler:
        case Sampler.TPE:
            return optuna.samplers.TPESampler(n_startup_trials=_STARTUP_TRIALS, seed=seed)
        case Sampler.RANDOM:
            return optuna.samplers.RandomSampler(seed=seed)
        case Sampler.GRID:
            lists = space.lists
            return optuna.samplers.GridSampler({name: list(range(len(lists[name]))) for name in lists}, seed=seed)


@contextmanager
def _explained(file: Path | None) -> Iterator[None]:
    import optuna
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except (OSError, DatabaseError, optuna.exceptions.StorageInternalError) as error:
        raise ConfigurationError(
            f"--study {file} can't be used: {error}",
            hint="Name another file; it is written by `tritonpack tune` alone.",
            field="--study",
        ) from error


def _another_study(file: Path | None, name: str, known: Any, asked: Any) -> ConfigurationError:
    return ConfigurationError(
        f"the study {file} is of another {name}: {known}, not {asked}",
        hint="Name another file with --study to begin anew, or go on with what this one is of.",
        field="--study",
        differs=name,
    )
