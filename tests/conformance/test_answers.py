"""The comparison itself: what counts as equal, and what is named as wrong."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.answers import Listed, Measured, Ranked, Vector, answer_from_outputs
from conformance.cells import Tolerance

TOLERANCE = Tolerance(absolute=1e-3, relative=0.0)


def compared(expected, actual, top=None):
    measured = Measured()
    measured.compare([expected], [actual], top, TOLERANCE, "here")
    return measured


def test_equal_answers():
    vector = Vector(np.array([3.0, 4.0]))
    measured = compared(vector, Vector(np.array([3.0, 4.0005])))
    assert measured.problems == []
    assert measured.max_error == pytest.approx(5e-4)
    assert measured.worst == pytest.approx(0.5)
    assert measured.min_cosine == pytest.approx(1.0)
    assert compared(Ranked((("a", 0.9), ("b", 0.1))), Ranked((("a", 0.9),)), top=1).problems == []


def test_of_two_that_tie_either_may_come_first():
    expected = Ranked((("a", 0.5), ("b", 0.4995), ("c", 0.1)))
    assert compared(expected, Ranked((("b", 0.4995), ("a", 0.5))), top=2).problems == []
    assert compared(expected, Ranked((("b", 0.4995),)), top=1).problems == []


@pytest.mark.parametrize(
    "actual",
    [
        Ranked((("c", 0.5), ("a", 0.4995))),  # another's score
        Ranked((("a", 0.5), ("c", 0.1))),  # the second best is left out
        Ranked((("a", 0.5), ("a", 0.4995))),
        Ranked((("a", 0.5),)),
        Ranked((("a", float("nan")), ("b", 0.4995))),
        Ranked((("a", 0.5), ("z", 0.4995))),
    ],
)
def test_wrong_rankings(actual):
    assert compared(Ranked((("a", 0.5), ("b", 0.4995), ("c", 0.1))), actual, top=2).problems


@pytest.mark.parametrize("things", [(), ((("PER", 0, 3), 0.8),), ((("LOC", 0, 3), 0.9),), ((("PER", 0, 4), 0.9),)])
def test_wrong_lists(things):
    assert compared(Listed(((("PER", 0, 3), 0.9),)), Listed(things)).problems


def test_wrong_vectors_and_kinds():
    assert compared(Vector(np.zeros(2)), Vector(np.zeros(3))).problems
    assert compared(Vector(np.zeros(2)), Ranked(())).problems
    assert compared(Vector(np.zeros(2)), Vector(np.array([0.0, 0.01]))).problems


def test_padding_is_no_answer():
    outputs = {
        "entities": np.array([[b"Ada", b""]], object),
        "labels": np.array([[b"PER", b""]], object),
        "scores": np.array([[0.5, 0.0]], np.float32),
        "starts": np.array([[0, -1]]),
        "ends": np.array([[3, -1]]),
        "counts": np.array([[1]]),
    }
    assert answer_from_outputs("token_classification", outputs, 0) == [Listed(((("PER", 0, 3, "Ada"), 0.5),))]
