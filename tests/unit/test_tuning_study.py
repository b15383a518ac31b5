"""The search: it finds what is best, gives up what isn't, and goes on where it was left."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest

from tritonpack.core.errors import ConfigurationError, ServerError
from tritonpack.tuning.measure import RUNGS
from tritonpack.tuning.study import Outcome, Sampler, Search

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_tuning import BEST, FINGERPRINT, OWN, SPACE, attempt, capacity, search


def test_the_recipes_own_settings_come_first_and_are_measured_to_the_end():
    first = next(iter(search().run(attempt, 1, None)))
    assert (first.number, first.settings, first.outcome) == (0, OWN, Outcome.COMPLETE)
    assert first.best.duration_s == RUNGS[-1]


@pytest.mark.parametrize("sampler", Sampler)
def test_there_are_so_many_trials_and_no_settings_twice(sampler):
    trials = list(search(sampler=sampler).run(attempt, 12, None))
    assert len(trials) == 12
    assert len({trial.settings for trial in trials}) == 12
    assert all(first.number < second.number for first, second in pairwise(trials))


def test_tpe_finds_the_best_settings_in_a_part_of_the_space():
    trials = list(search().run(attempt, 60, None))
    assert SPACE.size > 200
    best = max(trials, key=lambda trial: trial.value)
    assert capacity(best.settings) >= capacity(BEST) - 50  # all but one of seven settings


def test_what_lags_behind_is_given_up_early():
    trials = list(search().run(attempt, 24, None))
    pruned = [trial for trial in trials if trial.outcome is Outcome.PRUNED]
    complete = [trial for trial in trials if trial.outcome is Outcome.COMPLETE]
    assert pruned
    assert all(trial.best.duration_s < RUNGS[-1] for trial in pruned)
    assert all(trial.best.duration_s == RUNGS[-1] for trial in complete)
    assert max(trials, key=lambda trial: trial.value) in complete


def test_a_search_goes_on_where_it_was_left(tmp_path):
    file = tmp_path / "studies" / "study.db"
    began = list(search(file).run(attempt, 5, None))
    resumed = search(file)
    assert resumed.trials == began
    more = list(resumed.run(attempt, 9, None))
    assert [trial.number > began[-1].number for trial in more] == [True] * 4
    assert len({trial.settings for trial in (*began, *more)}) == 9
    assert not list(search(file).run(attempt, 9, None))


def test_a_trial_that_was_cut_off_is_tried_again(tmp_path):
    file = tmp_path / "study.db"

    def cut_off(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(search(file).run(cut_off, 3, None))
    resumed = search(file)
    assert resumed.trials == []
    assert [trial.settings == OWN for trial in resumed.run(attempt, 3, None)] == [True, False, False]


def test_a_study_of_something_else_is_refused(tmp_path):
    file = tmp_path / "study.db"
    list(search(file).run(attempt, 1, None))
    with pytest.raises(ConfigurationError) as error:
        search(file, fingerprint={**FINGERPRINT, "SLO": "p99<=5ms"})
    assert error.value.message == f"the study {file} is of another SLO: p99<=25ms, not p99<=5ms"
    assert "--study" in error.value.hint


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look like a header" * 4, None])
def test_a_file_that_is_no_study_is_refused(tmp_path, content):
    file = tmp_path / "study.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="can't be used"):
        search(file)


def test_a_server_that_fails_costs_one_trial():
    def failing_in_int8(number, settings, climbed):
        if settings.precision == "int8_dynamic":
            raise ServerError("it ended by itself")
        return attempt(number, settings, climbed)

    trials = list(search(sampler=Sampler.RANDOM).run(failing_in_int8, 10, None))
    failed = [trial for trial in trials if trial.outcome is Outcome.FAILED]
    assert len(trials) == 10
    assert {trial.error for trial in failed} == {"it ended by itself"}
    assert all(trial.settings.precision == "fp32" for trial in trials if trial.best)


def test_a_bug_keeps_its_traceback():
    def broken(*_):
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        list(search().run(broken, 3, None))


def test_no_trial_begins_after_the_time_is_over():
    assert list(search().run(attempt, 5, 0.0)) == []


def test_a_grid_ends_with_its_last_settings():
    small = replace(SPACE, delays_us=(0, 300), layouts=((1, 1),), call_costs=(None,))
    study = Search(small, OWN, Sampler.GRID, FINGERPRINT, None)
    tried = [trial.settings for trial in study.run(attempt, 10_000, None)]
    places = [dict(zip(small.lists, one, strict=True)) for one in product(*map(range, map(len, small.lists.values())))]
    assert len(tried) == small.size == len(places)
    assert set(tried) == {small.settings(place) for place in places}
