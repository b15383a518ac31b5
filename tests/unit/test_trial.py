"""One graph of a search: rewritten, held against PyTorch, and the metric where that holds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tritonpack.core.observations import Observations
from tritonpack.core.tensors import TensorSpec, Tolerance
from tritonpack.precisions import Rewriting
from tritonpack.stages.reference import Case, write_reference
from tritonpack.stages.trial import figures_from_rewriting
from tritonpack.tasks import TASKS

OUTPUTS = [TensorSpec("vectors", "float32", ("batch", 4))]
EXPECTED = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)


class Precision:
    """Writes into the graph how it was asked to."""

    def __init__(self):
        self.how = None

    def rewrite(self, onnx, out, how):
        self.how = how
        out.write_text(f"{onnx.read_text()} without {','.join(sorted(how.keep))}")
        return {}


class Engine:
    """Answers the reference with some noise; the metric of its session is told."""

    def __init__(self, noise, metric=0.0):
        self.noise, self.metric, self.opened = noise, metric, []

    def open(self, path):
        self.opened.append(path.read_text())
        return self

    def run(self, _inputs):
        return {"vectors": EXPECTED + np.float32(self.noise) * np.sign(EXPECTED[::-1])}


def figures(tmp_path, engine, metric=None, how=None):
    precision = Precision()
    (tmp_path / "onnx").write_text("graph")
    write_reference([Case({"x": np.zeros((6, 1))}, {}, {"vectors": EXPECTED})], tmp_path / "reference")
    facts = figures_from_rewriting(
        {"onnx": tmp_path / "onnx", "reference": tmp_path / "reference"},
        precision,
        how or Rewriting(),
        engine=engine,
        task=TASKS.get("embedding"),
        outputs=OUTPUTS,
        tolerance=Tolerance(min_cosine=0.9),
        metric=metric,
        out=tmp_path / "out",
    )
    assert json.loads((tmp_path / "out").read_text()) == facts
    return facts, precision


def metric():
    asked = []

    def measure(session):
        asked.append(session)
        return session.metric

    return measure, asked


def test_a_graph_that_agrees_is_inside_the_budget(tmp_path):
    facts, _ = figures(tmp_path, Engine(1e-3))
    assert (facts["violation"], facts["metric"]) == ("", None)
    assert facts["damage"] == pytest.approx(1e-6 / EXPECTED.astype(np.float64).var(), rel=1e-2)
    assert facts["outputs"]["vectors"]["min_cosine"] > 0.99


def test_the_same_has_no_damage(tmp_path):
    assert figures(tmp_path, Engine(0))[0]["damage"] == 0


def test_what_breaks_parity_says_so_and_its_metric_isnt_asked_for(tmp_path):
    measure, asked = metric()
    facts, _ = figures(tmp_path, Engine(3), measure)
    assert facts["violation"].startswith("the rewritten graph: output 'vectors' no longer agrees with PyTorch: lowest")
    assert (facts["metric"], asked) == (None, [])
    assert facts["damage"] > 1


def test_a_graph_that_isnt_finite_has_no_end_of_damage(tmp_path):
    facts, _ = figures(tmp_path, Engine(math.nan))
    assert facts["damage"] == math.inf
    assert "NaN or infinity" in facts["violation"]


def test_where_parity_holds_the_metric_is_measured(tmp_path):
    measure, asked = metric()
    engine = Engine(1e-3, 0.795)
    facts, _ = figures(tmp_path, engine, measure)
    assert (asked, facts["metric"], facts["violation"]) == ([engine], 0.795, "")


def test_the_graph_is_rewritten_as_the_search_says(tmp_path):
    engine = Engine(0)
    how = Rewriting(observed=Observations(7), keep=frozenset({"layer.1", "layer.0"}), smoothing=0.5)
    _, precision = figures(tmp_path, engine, how=how)
    assert engine.opened == ["graph without layer.0,layer.1"]
    assert precision.how is how


def test_only_the_figures_stay(tmp_path):
    figures(tmp_path, Engine(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["onnx", "out", "reference"]
