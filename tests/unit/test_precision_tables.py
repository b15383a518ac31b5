"""INT8 of a graph that looks vectors up and multiplies nothing."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tritonpack.core.observations import Observations
from tritonpack.precisions import PRECISIONS, Rewriting
from tritonpack.precisions._tables import with_tables_in_int8

ROWS, WIDTH = 50, 8


def lookup(table, *, kept=False):
    """``ids (n,) -> vectors (n, d)``; ``kept`` also gives the table itself."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["vectors"])]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", WIDTH])]
    if kept:
        nodes.append(helper.make_node("Identity", ["table"], ["whole"]))
        outputs.append(helper.make_tensor_value_info("whole", TensorProto.FLOAT, [ROWS, WIDTH]))
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])]
    graph = helper.make_graph(nodes, "lookup", inputs, outputs, [numpy_helper.from_array(table, "table")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answers(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": np.arange(ROWS)})


def table():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(ROWS, WIDTH)) * rng.uniform(0.01, 100, size=(ROWS, 1))
    rows[0] = 0
    return rows.astype(np.float32)


def test_each_row_has_a_scale_of_its_own():
    expected, model = table(), lookup(table())
    assert with_tables_in_int8(model) == 1
    onnx.checker.check_model(model, full_check=True)
    (found,) = answers(model)
    half_step = np.abs(expected).max(axis=1, keepdims=True) / 127 / 2
    assert (np.abs(found - expected) <= half_step * 1.001).all()
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.INT8, TensorProto.FLOAT}
    assert max(np.prod(t.dims) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT) == ROWS


def test_a_table_that_something_else_reads_stays_beside_it():
    model = lookup(table(), kept=True)
    assert with_tables_in_int8(model) == 1
    np.testing.assert_array_equal(answers(model)[1], table())


def test_int8_rewrites_a_graph_of_tables(tmp_path):
    onnx.save(lookup(table()), tmp_path / "in.onnx")
    how = Rewriting(observed=Observations(rows=4))
    facts = PRECISIONS.get("int8").rewrite(tmp_path / "in.onnx", tmp_path / "out.onnx", how)
    assert facts == {"quantized_tables": 1}
    (found,) = answers(onnx.load(tmp_path / "out.onnx"))
    np.testing.assert_allclose(found, table(), rtol=0, atol=np.abs(table()).max() / 127 / 2 * 1.001)
