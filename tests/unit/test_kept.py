"""Every reason for which a node stays in FP32, each on a graph that has no other."""

from __future__ import annotations

import math

import onnx
import pytest

from tritonpack.core.observations import Observations
from tritonpack.precisions._formats import BF16, FP16
from tritonpack.precisions._kept import Kept, Rules, Why, facts_of_kept, kept_nodes

MINIMUM = -3.4028234663852886e38
FP16_RULES = Rules(FP16, logits=128.0)
SIGNATURE = "g (float[n,4] x) => (float[n,4] y)"
WEIGHT = "float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}"


def graph_of(body, constants=WEIGHT, signature=SIGNATURE):
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 20]>\n{signature} <{constants}> {{\n{body}\n}}'
    )
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model).graph


def reasons(graph, rules=FP16_RULES, **observed):
    seen = Observations(rows=1, **observed) if observed else None
    return {one.output: (one.why, one.value) for one in kept_nodes(graph, rules, seen)}


CHAIN = graph_of("a = MatMul(x, w)\nb = Tanh(a)\nc = MatMul(b, w)\ny = Neg(c)")


def test_of_an_ordinary_graph_nothing_stays():
    assert reasons(CHAIN) == {}
    assert reasons(CHAIN, magnitudes={"x": 5.0, "a": 100.0, "b": 1.0, "c": 6.2e-5, "y": 32752.0}) == {}


@pytest.mark.parametrize("magnitude", [70000.0, 40000.0])
def test_a_value_out_of_range_keeps_what_makes_and_what_reads_it(magnitude):
    """Other data may go twice as far."""
    expected = (Why.RANGE, magnitude)
    assert reasons(CHAIN, magnitudes={"a": magnitude}) == {"a": expected, "b": expected}
    assert reasons(CHAIN, magnitudes={"x": magnitude}) == {"a": expected}


def test_a_value_that_isnt_finite_is_told_apart():
    assert reasons(CHAIN, magnitudes={"b": math.inf}) == {"b": (Why.NOT_FINITE, None), "c": (Why.NOT_FINITE, None)}


def test_a_value_too_small_for_fp16s_digits():
    expected = (Why.TINY, 1e-6)
    assert reasons(CHAIN, magnitudes={"b": 1e-6}) == {"b": expected, "c": expected}
    assert reasons(CHAIN, magnitudes={"b": 0.0}) == {}
    assert reasons(CHAIN, Rules(BF16, logits=64.0), magnitudes={"a": 1e30, "b": 1e-30}) == {}


def test_a_node_whose_sum_leaves_the_range():
    graph = graph_of("y = LayerNormalization(x, w)", "float[4] w = {1,1,1,1}")
    assert reasons(graph, sums={"y": 33000.0}) == {"y": (Why.SUM, 33000.0)}
    assert reasons(graph, sums={"y": math.inf}) == {"y": (Why.SUM, None)}
    assert reasons(graph, sums={"y": 32000.0}) == {}


MASK = "float m = {-3.4028234663852886e38}, float zero = {0}, float s = {0.5}"
ATTENTION = graph_of(
    """k = Transpose <perm = [1, 0]> (x)
    p = MatMul(x, k)
    a = Mul(p, s)
    h = Where(b, zero, m)
    r = Reshape(h, i)
    q = Add(a, r)
    f = Softmax(q)
    e = IsNaN(f)
    g = Where(e, zero, f)
    y = MatMul(g, x)""",
    f"{MASK}, int64[2] i = {{-1, 4}}",
    "g (float[4,4] x, bool[n,4] b) => (float[n,4] y)",
)


def test_a_mask_constant_is_kept_until_the_softmax_has_made_probabilities_of_it():
    """Data may lack padding, so that nobody observes the mask."""
    large = pytest.approx(-MINIMUM)
    assert reasons(ATTENTION) == {
        "h": (Why.CONSTANT, large),
        "r": (Why.RANGE, large),
        "q": (Why.RANGE, large),
        "f": (Why.RANGE, large),
    }


def test_large_logits_keep_their_softmax_and_its_scores_back_to_the_product():
    kept = reasons(ATTENTION, logits={"f": 5000.0})
    assert kept.pop("h")[0] == Why.CONSTANT
    assert kept == dict.fromkeys(["p", "a", "r", "q", "f"], (Why.LOGITS, 5000.0))
    assert reasons(ATTENTION, logits={"f": 127.0}) == reasons(ATTENTION)


@pytest.mark.parametrize("operator", ["Clip", "Max"])
def test_a_bound_out_of_range_makes_no_value_large(operator):
    graph = graph_of(f"a = {operator}(x, m)\nb = Neg(a)\ny = Neg(b)", MASK)
    assert set(reasons(graph)) == {"a"}


@pytest.mark.parametrize("node", ["c = Constant <value_float = -3.4e38> ()", "c = ConstantOfShape <value = v> (i)"])
def test_constants_that_nodes_hold(node):
    node = node.replace("value = v", "value = float[1] {-3.4e38}")
    graph = graph_of(f"{node}\na = Add(x, c)\nb = Softmax(a)\ny = Neg(b)", "int64[1] i = {4}")
    assert set(reasons(graph)) == {"c", "a", "b"}


def test_infinity_is_a_number_that_fp16_has():
    model = graph_of("a = Add(x, m)\ny = Softmax(a)", "float m = {0}")
    model.initializer[0].CopyFrom(onnx.helper.make_tensor("m", onnx.TensorProto.FLOAT, [], [-math.inf]))
    assert reasons(model) == {}


def test_an_epsilon_is_kept_until_what_it_protects_has_been_divided_by():
    graph = graph_of(
        "q = Mul(x, x)\nv = ReduceMean(q, i)\na = Add(v, e)\nr = Sqrt(a)\nu = Reciprocal(r)\nn = Mul(x, u)\ny = Neg(n)",
        "int64[1] i = {-1}, float e = {1e-12}",
    )
    tiny = pytest.approx(1e-12)
    after = (Why.TINY, tiny)
    assert reasons(graph) == {"a": (Why.CONSTANT, tiny), "r": after, "u": after, "n": after}


@pytest.mark.parametrize(("number", "held"), [("1e-12", False), ("1e-5", False), ("9.5367431640625e-07", True)])
def test_a_small_constant_that_fp16_holds_exactly_is_no_reason(number, held):
    graph = graph_of("a = Add(x, e)\ny = Sqrt(a)", f"float e = {{{number}}}")
    assert (reasons(graph) == {}) is held


def test_weights_out_of_range_keep_their_product():
    constants = WEIGHT.replace("{1,", "{70000,")
    graph = graph_of("a = MatMul(x, w)\nb = Tanh(a)\ny = MatMul(b, v)", f"{constants}, {WEIGHT.replace(' w', ' v')}")
    assert reasons(graph) == {"a": (Why.WEIGHT, 70000.0), "b": (Why.RANGE, 70000.0)}


def test_tiny_weights_keep_what_they_scale_but_not_what_they_are_added_to():
    tiny = "float[4] w = {1e-7, 2e-7, 0, 0}"
    assert reasons(graph_of("y = Mul(x, w)", tiny)) == {"y": (Why.WEIGHT, pytest.approx(2e-7))}
    assert reasons(graph_of("y = Add(x, w)", tiny)) == {}


def test_some_tiny_numbers_among_others_dont_matter():
    assert reasons(graph_of("y = Mul(x, w)", "float[4] w = {1e-7, 2e-7, 0, 0.1}")) == {}


def test_bfloat16_has_the_range_but_not_for_the_least_of_all_numbers():
    rules = Rules(BF16, logits=64.0)
    assert reasons(graph_of("y = Add(x, e)", "float e = {1e-12}"), rules) == {}
    assert set(reasons(ATTENTION, rules)) == {"h", "r", "q", "f"}


def test_operators_that_a_precision_never_narrows():
    graph = graph_of("a = Softmax(x)\ny = Neg(a)")
    assert reasons(graph, Rules(BF16, logits=64.0, operators=frozenset({"Softmax"}))) == {"a": (Why.OPERATOR, None)}


def test_modules_and_positions_are_reasons_without_a_figure():
    graph = graph_of(
        "a = MatMul(x, w)\nt = Cast <to = 1> (i)\nu = Sin(t)\ny = Add(a, u)", f"{WEIGHT}, int64[4] i = {{0,1,2,3}}"
    )
    graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'block.0.wo', 'linear']")
    kept = kept_nodes(graph, Rules(FP16, logits=128.0, modules=("wo",)), None)
    assert {one.output: one.why for one in kept} == {
        "a": Why.MODULE, "t": Why.POSITION, "u": Why.POSITION, "y": Why.MODULE,
    }  # fmt: skip
    assert kept[0].module == "block.0.wo"


def test_a_node_has_one_reason_with_its_greatest_figure():
    seen = {"a": 80000.0, "b": 90000.0}
    assert reasons(CHAIN, magnitudes=seen, sums={"c": 1e6}) == {
        "a": (Why.RANGE, 80000.0),
        "b": (Why.RANGE, 90000.0),
        "c": (Why.SUM, 1e6),
    }


def test_the_facts_add_up_and_layers_without_a_figure_share_an_entry():
    kept = [
        *(Kept(f"s{i}", f"softmax_{i}", f"layer.{i}.attention", Why.OPERATOR) for i in range(3)),
        *(Kept(f"a{i}", f"add_{i}", "layer.1.attention", Why.RANGE, 7e4 + i) for i in range(2)),
    ]
    facts = facts_of_kept(kept)
    assert facts["fp32_nodes"] == sum(facts["kept_counts"].values()) == 5
    assert facts["kept"] == [
        {"node": "softmax_0", "module": "layer.*.attention", "why": "operator", "value": None, "nodes": 3},
        {"node": "add_0", "module": "layer.1.attention", "why": "out of range", "value": 70001.0, "nodes": 2},
    ]


def test_of_very_many_entries_a_report_has_fifty():
    kept = [Kept(f"a{i}", f"a{i}", f"layer.{i}", Why.RANGE, 7e4) for i in range(80)]
    facts = facts_of_kept([*kept, Kept("b", "b", "layer.79", Why.RANGE, 7e4)])
    assert len(facts["kept"]) == 50
    assert facts["kept"][-1]["module"] == "layer.79"
    assert facts["kept_counts"] == {"out of range": 81}
