"""Graphs whose token-wise work runs on the tokens alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_attention import AXIS, HIDDEN, LENGTH, PRODUCTS, WORDS, GraphMaker, encoder, padded

from tritonpack.engines import ENGINES
from tritonpack.precisions import PRECISIONS, Rewriting
from tritonpack.stages.raggedize import ragged_from_onnx, ragged_inputs

ENGINE = ENGINES.get("onnxruntime")
LAYOUTS = {
    "rows": {},
    "columns": {"columns": True},
    "merged": {"merged": True},
    "merged columns": {"columns": True, "merged": True},
}
ROWS = st.lists(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=LENGTH), min_size=1, max_size=6)


def ragged(rows):
    return ragged_inputs(padded(rows), [AXIS], {"sequence": [len(row) for row in rows]})


def weight_products(model):
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in {"MatMul", "Gemm"} and node.input[1] in constants]


def shapes(path, feeds):
    """By value, its shape in a run."""
    model = onnx.load(path)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    onnx.save(model, path.with_name("all.onnx"))
    return {name: array.shape for name, array in ENGINE.open(path.with_name("all.onnx")).run(feeds).items()}


@pytest.fixture(scope="module", params=LAYOUTS)
def made(request, tmp_path_factory):
    """The padded graph's session, the flat file, its session and what was told of it."""
    folder = tmp_path_factory.mktemp("flat")
    source, out = encoder(folder / "a.onnx", **LAYOUTS[request.param]), folder / "b.onnx"
    facts = ragged_from_onnx(source, axes=[AXIS], out=out)
    return ENGINE.open(source), out, ENGINE.open(out), facts


def test_every_product_with_weights_sees_the_tokens_alone(made):
    _, out, _, facts = made
    assert (facts["flat"], facts["products"]) == (True, PRODUCTS)
    found = shapes(out, ragged([[1, 2, 3, 4, 5], [6], [7, 8]]))
    products = weight_products(onnx.load(out))
    assert len(products) == PRODUCTS
    assert {found[node.output[0]] for node in products} == {(8, HIDDEN)}


@settings(deadline=None)  # how fast it is is no part of this test
@given(rows=ROWS)
def test_each_row_is_answered_as_if_it_were_alone(made, rows):
    alone, _, flat, _ = made
    answer = flat.run(ragged(rows))
    assert answer["tokens"].shape == (len(rows), max(map(len, rows)), HIDDEN)
    for number, row in enumerate(rows):
        expected = alone.run(padded([row]))
        np.testing.assert_allclose(answer["mean"][number], expected["mean"][0], atol=1e-5)
        np.testing.assert_allclose(answer["tokens"][number, : len(row)], expected["tokens"][0], atol=1e-5)


def test_a_wider_grid_than_the_longest_row_changes_nothing(made):
    """As where a request has several rows: its elements are counted together."""
    rows = [[1, 2, 3], [4], [5, 6]]
    feeds = ragged(rows)
    wide = {**feeds, AXIS.longest_input: np.zeros(3 * LENGTH, np.float32)}
    _, _, flat, _ = made
    np.testing.assert_allclose(flat.run(wide)["mean"], flat.run(feeds)["mean"], atol=1e-6)


def test_a_row_that_is_too_long_touches_no_other_row(made):
    _, _, flat, _ = made
    short = [[1, 2, 3], [4, 5]]
    long = [7] * (LENGTH + 5)
    expected = flat.run(ragged(short))["mean"]
    for place in range(3):
        rows = [*short[:place], long, *short[place:]]
        answer = flat.run(ragged(rows))["mean"]
        np.testing.assert_allclose(np.delete(answer, place, axis=0), expected, atol=1e-5)


def test_no_shape_in_it_depends_on_data(made):
    _, out, _, _ = made
    operators = {node.op_type for node in onnx.load(out).graph.node}
    assert operators.isdisjoint({"NonZero", "Compress", "Unique", "If", "Loop"})


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    source = encoder(tmp_path / "a.onnx")
    for name in ("b", "c"):
        ragged_from_onnx(source, axes=[AXIS], out=tmp_path / name)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_a_model_that_sees_its_padding_stays_padded(tmp_path):
    source = encoder(tmp_path / "a.onnx", masks=False)
    facts = ragged_from_onnx(source, axes=[AXIS], out=tmp_path / "b.onnx")
    assert facts["flat"] is False
    assert facts["why"].startswith("output '")
    assert " of rows of sequence " in facts["why"]
    rows = [[1, 2, 3], [4]]
    answer = ENGINE.open(tmp_path / "b.onnx").run(ragged(rows))
    expected = ENGINE.open(source).run(padded(rows))
    assert np.array_equal(answer["mean"], expected["mean"])


def test_a_graph_without_products_stays_padded(tmp_path):
    make = GraphMaker()
    words = make.add("Gather", [make.weights(WORDS, HIDDEN), "ids"])
    real = make.add("Cast", ["mask"], to=TensorProto.FLOAT)
    kept = make.add("Mul", [words, make.add("Unsqueeze", [real, make.constant([2])])])
    make.add("ReduceSum", [kept, make.constant([1])], "mean", keepdims=0)
    inputs = dict.fromkeys(AXIS.pads, (TensorProto.INT64, ["batch", "sequence"]))
    source = make.write(tmp_path / "a.onnx", inputs, {"mean": ["batch", HIDDEN]})
    facts = ragged_from_onnx(source, axes=[AXIS], out=tmp_path / "b.onnx")
    assert (facts["flat"], facts["why"]) == (False, "no matrix product works on each token by itself")


@pytest.mark.parametrize(
    ("axis", "why"),
    [
        (replace(AXIS, longest=2), "rows of 1 to 2 hardly differ in length"),
        (replace(AXIS, dynamic=False), "rows don't differ in length"),
    ],
)
def test_rows_of_about_one_length_stay_padded(tmp_path, axis, why):
    facts = ragged_from_onnx(encoder(tmp_path / "a.onnx"), axes=[axis], out=tmp_path / "b.onnx")
    assert (facts["flat"], facts["why"]) == (False, why)


def test_a_graph_that_cant_be_run_stays_padded(tmp_path):
    source = encoder(tmp_path / "a.onnx")
    model = onnx.load(source)
    model.graph.node.append(onnx.helper.make_node("Nonsense", ["tokens"], ["more"], domain="of.a.test"))
    model.opset_import.append(onnx.helper.make_opsetid("of.a.test", 1))
    onnx.save(model, source)
    facts = ragged_from_onnx(source, axes=[AXIS], out=tmp_path / "b.onnx")
    assert facts["flat"] is False
    assert "Nonsense" in facts["why"]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8_dynamic"])
def test_a_rewritten_graph_is_flat_where_the_exported_one_is(tmp_path, precision):
    source, lowered = encoder(tmp_path / "a.onnx"), tmp_path / "lowered.onnx"
    PRECISIONS.get(precision).rewrite(source, lowered, Rewriting())
    facts = ragged_from_onnx(lowered, axes=[AXIS], out=tmp_path / "b.onnx", exported=source)
    assert (facts["flat"], facts["products"]) == (True, PRODUCTS)
    rows = [[1, 2, 3, 4, 5, 6], [7], [8, 9]]
    answer, alone = ENGINE.open(tmp_path / "b.onnx").run(ragged(rows)), ENGINE.open(source)
    for number, row in enumerate(rows):
        expected = alone.run(padded([row]))["mean"][0]
        assert np.linalg.norm(answer["mean"][number] - expected) < 0.05 * np.linalg.norm(expected)


def test_a_rewritten_graph_stays_padded_where_the_exported_one_sees_its_padding(tmp_path):
    source, lowered = encoder(tmp_path / "a.onnx", masks=False), tmp_path / "lowered.onnx"
    PRECISIONS.get("int8_dynamic").rewrite(source, lowered, Rewriting())
    facts = ragged_from_onnx(lowered, axes=[AXIS], out=tmp_path / "b.onnx", exported=source)
    assert facts["flat"] is False


def test_padding_has_no_part_in_a_dynamic_scale(tmp_path):
    """On the padded graph the same rows change with the width."""
    source, lowered = encoder(tmp_path / "a.onnx"), tmp_path / "lowered.onnx"
    PRECISIONS.get("int8_dynamic").rewrite(source, lowered, Rewriting())
    ragged_from_onnx(lowered, axes=[AXIS], out=tmp_path / "b.onnx", exported=source)
    feeds = ragged([[1, 2, 3, 4], [5]])
    flat = ENGINE.open(tmp_path / "b.onnx")
    wide = flat.run({**feeds, AXIS.longest_input: np.zeros(LENGTH, np.float32)})
    np.testing.assert_allclose(wide["mean"], flat.run(feeds)["mean"], atol=1e-6)
