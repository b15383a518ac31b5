"""What calls cost, fitted from how long they take, and the cheapest parts."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack import server

sys.path.insert(0, str(Path(server.__file__).parent / "backends" / "onnxruntime"))  # as the stub imports it

import costs as costs_module
from costs import Costs, fitted_costs, parts_from_lengths, pieces_of_parts

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=40).map(np.array)
COSTS = st.builds(Costs, st.floats(0, 500), st.floats(0, 3), st.floats(0, 0.1))


def cost_of(costs, lengths, parts):
    longest = [(len(part), int(lengths[part].max())) for part in parts]
    return sum(costs.call + rows * (costs.grid * most + costs.square * most**2) for rows, most in longest)


@given(LENGTHS, COSTS, st.floats(0, 1))
def test_parts_hold_every_row_once_and_no_more_padding_than_is_allowed(lengths, costs, waste):
    parts = parts_from_lengths(lengths, Costs(costs.call, costs.grid, costs.square, waste))
    assert sorted(itertools.chain.from_iterable(part.tolist() for part in parts)) == list(range(len(lengths)))
    for part in parts:
        padded = len(part) * lengths[part].max()
        assert padded - lengths[part].sum() <= waste * padded + 1e-9


@given(LENGTHS, COSTS, st.integers(1, 400))
def test_pieces_hold_every_row_once_and_are_small_or_single(lengths, costs, most):
    parts = parts_from_lengths(lengths, costs)
    pieces = pieces_of_parts(parts, lengths, most)
    assert sorted(itertools.chain.from_iterable(piece.tolist() for piece in pieces)) == list(range(len(lengths)))
    for part in parts:
        cells = len(part) * lengths[part].max()
        if cells <= most:
            assert any(piece is part for piece in pieces)
    # Even pieces hold a row more than their share at most.
    assert all(len(piece) == 1 or (len(piece) - 1) * lengths[piece].max() <= most for piece in pieces)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=7).map(np.array), COSTS)
def test_parts_are_the_cheapest_of_all_cuts(lengths, costs):
    order = np.argsort(lengths)
    cuts = itertools.chain.from_iterable(
        itertools.combinations(range(1, len(lengths)), count) for count in range(len(lengths))
    )
    best = min(cost_of(costs, lengths, np.split(order, cut)) for cut in cuts)
    assert cost_of(costs, lengths, parts_from_lengths(lengths, costs)) == pytest.approx(best)


def test_free_calls_never_pad_and_dear_calls_never_split():
    lengths = np.array([3, 90, 3, 7, 90])

    def parts(call, grid=1.0, **more):
        return [part.tolist() for part in parts_from_lengths(lengths, Costs(call, grid, **more))]

    assert parts(0.5) == [[0, 2], [3], [1, 4]]
    assert parts(1e6) == [[0, 1, 2, 3, 4]]
    assert parts(1e6, max_waste=0.25) == [[0, 2], [3], [1, 4]]
    assert parts(1.0, grid=0.0) == [[0, 1, 2, 3, 4]]
    assert parts(1.0, grid=0.0, square=1.0) == [[0, 2], [3], [1, 4]]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, None),
        ({"intra_op_thread_count": "2"}, None),
        ({"call_cost": "30"}, Costs(30.0)),
        ({"max_padding_waste": "0.25"}, Costs(max_waste=0.25)),
        ({"call_cost": "400", "grid_cost": "5", "square_cost": "0.1"}, Costs(400.0, 5.0, 0.1)),
    ],
)
def test_costs_that_the_configuration_gives(parameters, expected):
    assert Costs.from_parameters(parameters) == expected


@pytest.mark.parametrize("value", ["much", "-1", "nan", "inf"])
def test_a_cost_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=f"parameter grid_cost is '{value}'; it takes a number that isn't negative"):
        Costs.from_parameters({"grid_cost": value})


class Engine:
    """A clock that an engine with known costs moves."""

    def __init__(self, call, token, grid, square, shortest=1):
        self.coefficients, self.shortest = np.array([call, token, grid, square]), shortest
        self.now, self.runs = 0.0, []

    def run(self, lengths):
        if min(lengths) < self.shortest:
            raise ValueError(f"rows have {self.shortest} elements at least")
        rows, longest = len(lengths), max(lengths)
        self.runs.append(list(lengths))
        terms = np.array([1, sum(lengths), rows * longest, rows * longest**2])
        self.now += float(self.coefficients @ terms) / 1e6


@pytest.fixture
def fit(monkeypatch):
    def fitted(*coefficients, **more):
        engine = Engine(*coefficients, **more)
        monkeypatch.setattr(costs_module, "time", SimpleNamespace(process_time=lambda: engine.now))
        return fitted_costs(engine.run), engine

    return fitted


@pytest.mark.parametrize(
    ("call", "token", "grid", "square"),
    [(400.0, 50.0, 5.0, 0.02), (1000.0, 0.0, 100.0, 0.0), (400.0, 80.0, 0.0, 0.1)],
)
def test_known_costs_are_found(fit, call, token, grid, square):
    found, engine = fit(call, token, grid, square)
    assert (found.call, found.grid, found.square) == pytest.approx((call, grid, square), abs=1e-6)
    assert found.max_waste == 1.0
    assert engine.now < costs_module.BUDGET_S * 1.5


def test_a_model_of_long_rows_is_measured_with_such(fit):
    found, engine = fit(500.0, 0.2, 0.1, 0.0, shortest=400)
    assert (found.call, found.grid) == pytest.approx((500.0, 0.1))
    assert min(map(min, engine.runs)) == 512


def test_an_engine_too_slow_to_be_measured_has_no_fitted_costs(fit):
    found, engine = fit(200_000.0, 0.0, 1000.0, 0.0)
    assert found is None
    assert len(engine.runs) <= 2


def test_an_engine_that_takes_no_such_rows_has_no_fitted_costs(fit):
    found, engine = fit(1.0, 1.0, 1.0, 0.0, shortest=2**30)
    assert found is None
    assert engine.runs == []


def test_a_call_costs_a_quarter_of_the_smallest_one_at_least(fit):
    found, _ = fit(0.0, 10.0, 10.0, 0.0)
    assert (found.call, found.grid) == pytest.approx((8 * 20.0 / 4, 10.0))
