"""Attention as ONNX Runtime's own operator: what is recognized, what it is replaced by, and that nothing else is."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest

from tritonpack.engines import ENGINES
from tritonpack.engines._attention import fuse_attention

ENGINE = ENGINES.get("onnxruntime")
HEADS, SIZE = 2, 4
WIDTH = HEADS * SIZE
SIGNATURE = (
    f"core (float[rows,width,{WIDTH}] q, float[rows,width,{WIDTH}] k, float[rows,width,{WIDTH}] v, "
    f"int64[rows,width] mask) => (float[rows,width,{WIDTH}] y)"
)
ROWS = (
    f"heads = Constant <value_ints = [0, 0, {HEADS}, {SIZE}]> ()",
    f"flat = Constant <value_ints = [0, 0, {WIDTH}]> ()",
    "low = Constant <value_float = -3.4e38> ()",
    "zero = Constant <value_float = 0.0> ()",
    "q3 = Reshape (q, heads)", "k3 = Reshape (k, heads)", "v3 = Reshape (v, heads)",
    "q4 = Transpose <perm = [0, 2, 1, 3]> (q3)",
    "k4 = Transpose <perm = [0, 2, 1, 3]> (k3)",
    "v4 = Transpose <perm = [0, 2, 1, 3]> (v3)",
    "seen = Cast <to = 9> (mask)",
    "between = Constant <value_ints = [1, 2]> ()",
    "keys = Unsqueeze (seen, between)",
    "shape = Shape (mask)",
    "one = Constant <value_int = 1> ()", "first = Constant <value_int = 0> ()",
    "width = Gather (shape, one)",
    "place = Range (first, width, one)",
    "up = Constant <value_ints = [1]> ()", "front = Constant <value_ints = [0]> ()",
    "row = Unsqueeze (place, up)", "column = Unsqueeze (place, front)",
)  # fmt: skip
EAGER = (
    "kt = Transpose <perm = [0, 1, 3, 2]> (k4)",
    "product = MatMul (q4, kt)",
    "scale = Constant <value_float = 2.0> ()",
    "scaled = Div (product, scale)",
)
TURNED_AT_ONCE = ("kt = Transpose <perm = [0, 2, 3, 1]> (k3)", *EAGER[1:])
SDPA = (
    "merged = Constant <value_ints = [-1, 0, 4]> ()",
    "whole = Shape (k4)",
    "two = Constant <value_ints = [2]> ()", "three = Constant <value_ints = [3]> ()",
    "four = Constant <value_ints = [4]> ()",
    "none = Constant <value_ints = [0]> ()", "less = Constant <value_ints = [-1]> ()",
    "long = Slice (whole, two, three)", "deep = Slice (whole, three, four)", "outer = Slice (whole, none, two)",
    "as_three = Concat <axis = 0> (less, long, deep)",
    "as_four = Concat <axis = 0> (outer, deep, long)",
    "k5 = Reshape (k4, as_three)",
    "k6 = Transpose <perm = [0, 2, 1]> (k5)",
    "kt = Reshape (k6, as_four)",
    "scale = Constant <value_float = 0.7> ()",
    "qs = Mul (q4, scale)", "ks = Mul (kt, scale)",
    "scaled = MatMul (qs, ks)",
)  # fmt: skip
KEYS = ("added = Where (keys, zero, low)", "scores = Add (scaled, added)")
CAUSAL = (
    "before = LessOrEqual (column, row)", "both = And (keys, before)",
    "added = Where (both, zero, low)", "scores = Add (scaled, added)",
)  # fmt: skip
WINDOW = (
    "apart = Sub (row, column)", "far = Abs (apart)", "near = LessOrEqual (far, one)", "both = And (keys, near)",
    "added = Where (both, zero, low)", "scores = Add (scaled, added)",
)  # fmt: skip
DISTANCE = (
    "apart = Sub (row, column)", "far = Cast <to = 1> (apart)", "ahead = Constant <value_ints = [0, 1]> ()",
    "bias = Unsqueeze (far, ahead)",
)  # fmt: skip
WIDE_WINDOW = ("wide = Constant <value_int = 40> ()", *(line.replace("(far, one)", "(far, wide)") for line in WINDOW))
BIASED = (*DISTANCE, "added = Where (keys, bias, low)", "scores = Add (scaled, added)")
SPREAD = (
    *DISTANCE, "ones = Constant <value_ints = [1]> ()", "many = Slice (shape, front, up)",
    "end = Constant <value_ints = [2]> ()", "wide = Slice (shape, up, end)",
    "target = Concat <axis = 0> (many, ones, wide, wide)", "spread = Expand (bias, target)",
    "sum = Add (scaled, spread)", "added = Where (keys, zero, low)", "scores = Add (sum, added)",
)  # fmt: skip
FILLED = ("hidden = Not (keys)", "scores = Where (hidden, low, scaled)")
ARITHMETIC = (
    "number = Cast <to = 1> (mask)", "unit = Constant <value_float = 1.0> ()", "absent = Sub (unit, number)",
    "much = Constant <value_float = -10000.0> ()", "amount = Mul (absent, much)", "added = Unsqueeze (amount, between)",
    "scores = Add (scaled, added)",
)  # fmt: skip
WEIGHTS = ("weights = Softmax <axis = -1> (scores)",)
CLEANED = (
    "raw = Softmax <axis = -1> (scores)", "undefined = IsNaN (raw)", "weights = Where (undefined, zero, raw)",
)  # fmt: skip
END = ("mixed = MatMul (weights, v4)", "joined = Transpose <perm = [0, 2, 1, 3]> (mixed)", "y = Reshape (joined, flat)")


def model_of(*lines, signature=SIGNATURE):
    """A model from lines of ONNX's own notation."""
    text = '<ir_version: 10, opset_import: ["" : 20]>\n' + signature + "\n{\n" + "\n".join(lines) + "\n}"
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model, full_check=True)
    return model


def given(rows=3, width=6, seed=0):
    rng = np.random.default_rng(seed)
    mask = (rng.random((rows, width)) < 0.6).astype(np.int64)
    mask[:, 0] = 1
    values = {name: rng.normal(size=(rows, width, WIDTH)).astype(np.float32) for name in "qkv"}
    return {**values, "mask": mask}


def answer(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def operator(model):
    return next(node for node in model.graph.node if node.op_type == "MultiHeadAttention")


def attributes(node):
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


FORMS = {
    "eager": (*EAGER, *KEYS, *WEIGHTS),
    "keys turned at once": (*TURNED_AT_ONCE, *KEYS, *WEIGHTS),
    "scaled dot product": (*SDPA, *KEYS, *CLEANED),
    "causal": (*SDPA, *CAUSAL, *CLEANED),
    "window": (*EAGER, *WINDOW, *WEIGHTS),
    "wide window": (*EAGER, *WIDE_WINDOW, *WEIGHTS),
    "bias under the mask": (*SDPA, *BIASED, *WEIGHTS),
    "bias beside the mask": (*EAGER, *SPREAD, *WEIGHTS),
    "filled": (*EAGER, *FILLED, *WEIGHTS),
    "mask by arithmetic": (*EAGER, *ARITHMETIC, *WEIGHTS),
    "no mask": (*EAGER[:-1], "scores = Div (product, scale)", *WEIGHTS),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_known_form_becomes_one_operator_with_the_same_numbers(form):
    plain, fused = model_of(*ROWS, *FORMS[form], *END), model_of(*ROWS, *FORMS[form], *END)
    assert fuse_attention(fused) == 1
    onnx.checker.check_model(fused)
    assert len(operator(fused).input) >= 3
    for rows, width in ((1, 1), (1, 7), (4, 3), (2, 60)):
        inputs = given(rows, width, seed=width)
        seen = inputs["mask"] == 1
        np.testing.assert_allclose(answer(fused, inputs)[seen], answer(plain, inputs)[seen], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "inputs", "causal"),
    [
        ("eager", 5, False),
        ("scaled dot product", 5, False),
        ("filled", 5, False),
        ("mask by arithmetic", 5, False),
        ("causal", 5, True),
        ("window", 6, False),
        ("wide window", 6, False),
        ("bias under the mask", 6, False),
        ("bias beside the mask", 6, False),
        ("no mask", 3, False),
    ],
)
def test_what_hides_keys_is_told_apart_from_what_biases_scores(form, inputs, causal):
    model = model_of(*ROWS, *FORMS[form], *END)
    fuse_attention(model)
    node = operator(model)
    assert len(node.input) == inputs
    assert attributes(node).get("unidirectional", 0) == causal
    if form.startswith("bias"):
        assert node.input[5] == "bias"  # one for all rows
    if "window" in form:
        assert node.input[4] == ""


def test_heads_and_scale_are_the_graphs():
    model = model_of(*ROWS, *FORMS["scaled dot product"], *END)
    fuse_attention(model)
    found = attributes(operator(model))
    assert found["num_heads"] == HEADS
    assert found["scale"] == pytest.approx(0.49)


def test_keys_that_are_turned_by_angles_stay_by_heads():
    """As rotary positions leave them; the operator takes such keys and values, and queries with their heads joined."""
    turned = (
        "kr = Neg (k4)",
        "qr = Neg (q4)",
        "kt = Transpose <perm = [0, 1, 3, 2]> (kr)",
        "product = MatMul (qr, kt)",
    )
    lines = (*ROWS, *turned, *EAGER[2:], *KEYS, *WEIGHTS, *END)
    plain, fused = model_of(*lines), model_of(*lines)
    assert fuse_attention(fused) == 1
    assert list(operator(fused).input[1:3]) == ["kr", "v4"]
    inputs = given()
    seen = inputs["mask"] == 1
    np.testing.assert_allclose(answer(fused, inputs)[seen], answer(plain, inputs)[seen], rtol=0, atol=1e-5)


STRANGE = {
    "heads joined in another order": (
        *EAGER, *KEYS, *WEIGHTS,
        END[0],
        "joined = Transpose <perm = [0, 2, 3, 1]> (mixed)", "y = Reshape (joined, flat)",
    ),
    "weights of queries": (*EAGER, *KEYS, "weights = Softmax <axis = 2> (scores)", *END),
    "a mask behind the scale": (
        *EAGER[:2], "added = Where (keys, zero, low)", "masked = Add (product, added)", *EAGER[2:3],
        "scores = Div (masked, scale)", *WEIGHTS, *END,
    ),
    "filled by distance": (
        *EAGER, "apart = Sub (row, column)", "hidden = Greater (apart, one)", "scores = Where (hidden, low, scaled)",
        *WEIGHTS, *END,
    ),
    "weights that something else reads": (
        *EAGER, *KEYS, *WEIGHTS, *END[:2], "plain = Reshape (joined, flat)",
        "least = ReduceMin <keepdims = 0> (weights)", "y = Add (plain, least)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", STRANGE)
def test_anything_else_stays_as_it_is(form):
    model = model_of(*ROWS, *STRANGE[form])
    before = model.SerializeToString()
    assert fuse_attention(model) == 0
    assert model.SerializeToString() == before


def test_a_mask_that_is_the_callers_own_cant_be_proved():
    own = SIGNATURE.replace("int64[rows,width] mask", "int64[rows,width] mask, float[rows,1,width,width] own")
    model = model_of(*ROWS, *EAGER, "scores = Add (scaled, own)", *WEIGHTS, *END, signature=own)
    assert fuse_attention(model) == 0


def test_halves_stay_as_they_are():
    """The operator has no FP16 on the CPU."""
    lines = (
        *(line for line in ROWS if "value_float" not in line),
        *EAGER[:2],
        "weights = Softmax <axis = -1> (product)",
    )
    assert fuse_attention(model_of(*lines, *END)) == 1
    assert fuse_attention(model_of(*lines, *END, signature=SIGNATURE.replace("float[", "float16["))) == 0


def test_layers_share_their_mask():
    lines = [*ROWS, *EAGER, *KEYS, *WEIGHTS]
    lines += [END[0], END[1], "inner = Reshape (joined, flat)"]
    second = {"q": "inner", "q3": "r3", "q4": "r4", "product": "p2", "scaled": "s2", "scores": "t2", "weights": "w2"}
    lines += ["r3 = Reshape (inner, heads)", "r4 = Transpose <perm = [0, 2, 1, 3]> (r3)", "p2 = MatMul (r4, kt)"]
    lines += [f"{second['scaled']} = Div (p2, scale)", "t2 = Add (s2, added)", "w2 = Softmax <axis = -1> (t2)"]
    lines += ["m2 = MatMul (w2, v4)", "j2 = Transpose <perm = [0, 2, 1, 3]> (m2)", "y = Reshape (j2, flat)"]
    plain, fused = model_of(*lines), model_of(*lines)
    assert fuse_attention(fused) == 2
    masks = [node.input[4] for node in fused.graph.node if node.op_type == "MultiHeadAttention"]
    assert all(one == other for one, other in pairwise(masks))
    assert Counter(node.op_type for node in fused.graph.node)["Cast"] == 2
    inputs = given(4, 5)
    seen = inputs["mask"] == 1
    np.testing.assert_allclose(answer(fused, inputs)[seen], answer(plain, inputs)[seen], rtol=0, atol=1e-5)


def test_what_no_output_needs_is_gone_from_the_engines_file(tmp_path):
    onnx.save(model_of(*ROWS, *FORMS["scaled dot product"], *END), tmp_path / "graph.onnx")
    facts = ENGINE.compile(tmp_path / "graph.onnx", {}, tmp_path / "engine.onnx", tmp_path)
    assert facts["fused_attention"] == 1
    operators = {node.op_type for node in onnx.load(tmp_path / "engine.onnx").graph.node}
    assert operators == {"Cast", "Constant", "MultiHeadAttention", "Reshape"}
    inputs = given()
    seen = inputs["mask"] == 1
    plain, fused = (ENGINE.open(tmp_path / f"{name}.onnx").run(inputs)["y"] for name in ("graph", "engine"))
    np.testing.assert_allclose(fused[seen], plain[seen], rtol=0, atol=1e-5)
