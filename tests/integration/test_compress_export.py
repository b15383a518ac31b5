"""Fewer layers and two zeros in every four, in the ONNX graph: it answers as PyTorch does, and the zeros are there."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_lessons import EMBEDDING, INPUTS, VOCABULARY, family_module, rows

from tritonpack.compressions import COMPRESSIONS
from tritonpack.core.tensors import TensorSpec
from tritonpack.inputs import Sample
from tritonpack.stages.compress import load_compressed, weights_from_compression
from tritonpack.stages.export import Traced, onnx_from_module

# torch's exporter uses a tree API that its own next release renames.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


def sample(rng, batch, length):
    ids = rng.integers(6, VOCABULARY, size=(batch, length))
    return Sample({"input_ids": ids, "attention_mask": np.ones_like(ids)}, {})


def input_rows(graph):
    """Of each product with a weight: the weight as ``(out, in)``."""
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {"MatMul", "Gemm"} and node.input[1] in weights:
            turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            yield weights[node.input[1]] if turned else weights[node.input[1]].T


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "xlnet"])
def test_the_graph_has_fewer_layers_and_two_zeros_in_every_four(family, tmp_path):
    teacher = family_module(family)
    learning = {"steps": 2, "batch": 6}
    steps = [
        (kind, kind.options(kind=name, **options, **learning))
        for name, options in (("distill", {"layers": 2}), ("prune", {"pattern": "2:4"}))
        for kind in [COMPRESSIONS.get(name)]
    ]
    weights = None
    for number, step in enumerate(steps):
        before = load_compressed(copy.deepcopy(teacher), steps[:number], weights)
        weights = tmp_path / str(number)
        weights_from_compression(before, teacher, *step, rows(), INPUTS, [EMBEDDING], out=weights)
    student = load_compressed(copy.deepcopy(teacher), steps, weights)
    specs = [TensorSpec(name, "int64", ("batch", "sequence")) for name in INPUTS]
    onnx_from_module(student, Traced(sample, specs, [EMBEDDING], dynamic=True, length=32), opset=20, out=tmp_path / "g")

    products = list(input_rows(onnx.load(tmp_path / "g").graph))
    assert len(products) == 2 * {"bert": 6, "gpt2": 4, "t5": 6, "xlnet": 2}[family]
    assert all(((weight.reshape(-1, 4) == 0).sum(axis=1) >= 2).all() for weight in products)
    session = onnxruntime.InferenceSession((tmp_path / "g").read_bytes())
    for batch in rows(3, seed=1):
        with torch.no_grad():
            expected = student(*(torch.from_numpy(batch[name]) for name in INPUTS)).numpy()
        assert np.abs(session.run(None, batch)[0] - expected).max() < 1e-5
