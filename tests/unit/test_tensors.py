from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tritonpack.core.tensors import Agreement, TensorSpec, Tolerance, agreement_of, score_agreement_of

FLOATS = st.floats(-1e6, 1e6, width=32)
ARRAYS = arrays(np.float32, array_shapes(min_dims=1, max_dims=3, max_side=4), elements=FLOATS)
LOOSEST = (Tolerance(max_abs_error=1e300), Tolerance(min_cosine=-0.9999), Tolerance(mean_cosine=-0.9999))


def test_a_spec_survives_json():
    spec = TensorSpec("ids", "int64", ("batch", 7, "sequence"))
    assert TensorSpec.from_json(spec.to_json()) == spec


@given(ARRAYS)
def test_an_array_agrees_with_itself(array):
    agreement = agreement_of(array, array)
    assert agreement.max_abs_error == 0
    assert agreement.min_cosine == pytest.approx(1)
    assert Tolerance(max_abs_error=1e-9, min_cosine=0.999999, mean_cosine=0.999999).violation(agreement) == ""


def test_the_numbers():
    reference = np.array([[1, 0], [0, 2], [3, 4]], np.float32)
    candidate = np.array([[1, 0], [2, 0], [3, 4.5]], np.float32)
    agreement = agreement_of(reference, candidate)
    third = (9 + 18) / (5 * math.hypot(3, 4.5))
    assert agreement == Agreement(
        max_abs_error=2,
        mean_abs_error=pytest.approx(4.5 / 6),
        min_cosine=0,
        mean_cosine=pytest.approx((1 + 0 + third) / 3),
        worst_row=1,
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("good", [0.0, 1.0, math.nan, math.inf])
@pytest.mark.parametrize("gate", LOOSEST, ids=["error", "cosine", "mean"])
def test_what_isnt_a_number_never_passes_a_gate(bad, good, gate):
    one_row = agreement_of(np.array([[good, 1.0]]), np.array([[bad, 1.0]]))
    assert gate.violation(one_row) != ""


@given(ARRAYS.filter(lambda array: array.size > 0), st.data())
def test_one_nan_anywhere_fails_error_and_least_cosine(array, data):
    candidate = array.copy()
    candidate.flat[data.draw(st.integers(0, array.size - 1))] = math.nan
    agreement = agreement_of(array, candidate)
    assert agreement.max_abs_error == math.inf
    assert agreement.min_cosine == -1
    assert all(gate.violation(agreement) for gate in (*LOOSEST, Tolerance(min_cosine=-1), Tolerance()))


def test_a_reference_that_isnt_a_number_passes_nothing():
    agreement = agreement_of(np.array([[math.nan, 1.0]]), np.array([[0.0, 1.0]]))
    assert all(gate.violation(agreement) for gate in LOOSEST)


def test_rows_of_zeros_are_alike_only_to_rows_of_zeros():
    zeros, ones = np.zeros((1, 3)), np.ones((1, 3))
    assert agreement_of(zeros, zeros).min_cosine == 1
    assert agreement_of(zeros, ones).min_cosine == 0
    assert agreement_of(ones, zeros).min_cosine == 0


def test_a_gate_names_the_bound_that_is_broken():
    agreement = Agreement(max_abs_error=0.5, mean_abs_error=0.1, min_cosine=0.8, mean_cosine=0.9, worst_row=0)
    assert Tolerance().violation(agreement) == ""
    assert Tolerance(0.5, 0.8, 0.9).violation(agreement) == ""
    assert Tolerance(max_abs_error=0.4).violation(agreement) == "maximum error 0.5 is over the gate 0.4"
    assert Tolerance(min_cosine=0.85).violation(agreement) == "lowest cosine 0.80000 is under the gate 0.85"
    assert Tolerance(mean_cosine=0.95).violation(agreement) == "mean cosine 0.90000 is under the gate 0.95"


def test_tightened_replaces_only_what_is_given():
    own = Tolerance(max_abs_error=1e-4, min_cosine=0.9)
    assert own.tightened(min_cosine=0.99, mean_cosine=None) == Tolerance(1e-4, 0.99, None)
    assert own.tightened(max_abs_error=None, min_cosine=None, mean_cosine=None) == own


def test_rows_of_one_length_have_their_cosine_as_score_agreement():
    rng = np.random.default_rng(0)
    rows, others = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in rng.normal(size=(2, 20, 5)))
    usual, of_scores = agreement_of(rows, others), score_agreement_of(rows, others)
    assert of_scores.min_cosine == pytest.approx(usual.min_cosine)
    assert of_scores.mean_cosine == pytest.approx(usual.mean_cosine)
    assert of_scores.worst_row == usual.worst_row


def test_scores_about_zero_may_point_elsewhere_and_large_ones_may_not_grow():
    reference = np.array([[4.0, -4.0], [3.0, -3.0], [0.01, -0.01]])
    turned, grown = reference.copy(), reference * 2
    turned[2] = [-0.01, 0.01]
    assert agreement_of(reference, turned).min_cosine == pytest.approx(-1)
    assert score_agreement_of(reference, turned).min_cosine > 0.9999
    assert agreement_of(reference, grown).min_cosine == pytest.approx(1)
    assert score_agreement_of(reference, grown).min_cosine == pytest.approx(0.5)
    assert score_agreement_of(reference, grown).worst_row == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_arent_finite_agree_with_nothing(bad):
    reference = np.array([[4.0, -4.0], [3.0, -3.0]])
    candidate = reference.copy()
    candidate[1, 0] = bad
    assert score_agreement_of(reference, candidate).min_cosine == -1
    assert score_agreement_of(np.zeros((2, 2)), np.zeros((2, 2))).min_cosine == 1
