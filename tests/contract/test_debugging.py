"""Where an exported model's graph and a rewrite of it first part."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_graphs import constant_changed, edited, node_of

from tritonpack.core.observations import read_observations
from tritonpack.core.tensors import Tolerance
from tritonpack.debugging.compare import comparison_of
from tritonpack.debugging.reduce import check_reduction, reduction_of
from tritonpack.precisions import PRECISIONS, Data, Rewriting
from tritonpack.stages.observe import observations_from_onnx

GATE = Tolerance(min_cosine=0.95, mean_cosine=0.98)


@pytest.fixture(scope="module")
def embedding(make_exported):
    return make_exported("embedding")


@pytest.fixture(scope="module")
def batch(embedding):
    return embedding.case(4, 20, seed=3)


@pytest.fixture
def planted(embedding, batch, tmp_path):
    """Compare the exported graph with a faulty copy, and write the smallest part that fails."""

    def compare(edit):
        candidate = edited(embedding.onnx, tmp_path / "faulty.onnx", edit)
        comparison = comparison_of(embedding.onnx, candidate, batch.inputs, tolerance=GATE, lengths=batch.lengths)
        out = tmp_path / "small.onnx"
        return comparison, reduction_of(embedding.onnx, candidate, batch.inputs, comparison, out, lengths=batch.lengths)

    return compare


def node_in(graph, module, operator):
    """The node of a module, by the end of its path."""
    found = [
        node
        for node in graph.node
        for entry in node.metadata_props
        if node.op_type == operator and entry.key.endswith("name_scopes") and f".{module}', " in entry.value
    ]
    return found[-1]


def weights_of(graph, module):
    return node_in(graph, module, "MatMul").input[1]


def weight_scaled(graph):
    constant_changed(graph, weights_of(graph, "layer.0.output.dense"), lambda array: array * 1.5)


def sign_flipped(graph):
    constant_changed(graph, weights_of(graph, "layer.1.attention.self.query"), lambda array: -array)


def bias_is_nan(graph):
    """Of one layer alone: biases of the untrained model are zeros that all layers share."""
    add = node_in(graph, "layer.1.intermediate.dense", "Add")
    place = next(place for place, name in enumerate(add.input) if "bias" in name)
    graph.initializer.append(numpy_helper.from_array(np.where(np.arange(64) == 7, np.nan, 0).astype("f"), "nan"))
    add.input[place] = "nan"


def norm_has_a_great_epsilon(graph):
    attributes = node_in(graph, "layer.0.attention.output.LayerNorm", "LayerNormalization").attribute
    next(attribute for attribute in attributes if attribute.name == "epsilon").f = 3.0


def heads_left_apart(graph):
    """The transpose behind the attention of layer 0 leaves the heads where they are."""
    transpose = node_in(graph, "layer.0.attention.self", "Transpose")
    transpose.attribute[0].CopyFrom(helper.make_attribute("perm", [0, 1, 2, 3]))


def table_shrunk(graph):
    constant_changed(graph, node_in(graph, "embeddings.word_embeddings", "Gather").input[0], lambda array: array * 0.5)


@pytest.mark.parametrize(
    ("edit", "module", "operator"),
    [
        (weight_scaled, "encoder.layer.0.output.dense", "MatMul"),
        (sign_flipped, "encoder.layer.1.attention.self.query", "MatMul"),
        (bias_is_nan, "encoder.layer.1.intermediate.dense", "Add"),
        (norm_has_a_great_epsilon, "encoder.layer.0.attention.output.LayerNorm", "LayerNormalization"),
        (heads_left_apart, "encoder.layer.0.attention.self", "Transpose"),
        (table_shrunk, "embeddings.word_embeddings", "Gather"),
    ],
)
def test_a_fault_in_a_layer_is_named_and_cut_out(planted, edit, module, operator):
    comparison, reduction = planted(edit)
    assert comparison.first is comparison.culprit
    assert comparison.first.module.endswith(module)
    assert comparison.first.operator == operator
    assert [layer.value for layer in comparison.faulty] == [comparison.first.value]
    assert reduction.value == comparison.first.value
    assert reduction.nodes <= 2
    assert any(path.endswith(module) for path in reduction.modules)
    assert check_reduction(reduction.file, GATE).problem


def test_a_fault_in_the_last_node_is_named(planted, embedding):
    output = embedding.outputs[0].name

    def longer(graph):
        last = node_of(graph, output)
        two = numpy_helper.from_array(np.float32(2), "two")
        graph.initializer.append(two)
        last.output[0] = "unscaled"
        graph.node.append(helper.make_node("Mul", ["unscaled", "two"], [output]))

    comparison, reduction = planted(longer)
    assert comparison.culprit.value == reduction.value == output
    assert [layer.value for layer in comparison.layers if layer.total.problem] == [output]


def test_one_of_two_outputs_fails(make_exported, tmp_path):
    model = make_exported("question_answering")
    batch = model.case(3, 14, seed=1)
    start, end = (spec.name for spec in model.outputs)

    def swapped(graph):
        source, target = node_of(graph, start), node_of(graph, end)
        source.output[0], target.output[0] = end, start

    candidate = edited(model.onnx, tmp_path / "swapped.onnx", swapped)
    comparison = comparison_of(model.onnx, candidate, batch.inputs, tolerance=GATE, lengths=batch.lengths)
    assert {layer.value for layer in comparison.faulty} == {start, end}

    def negated(graph):
        node_of(graph, end).output[0] = "before"
        graph.node.append(helper.make_node("Neg", ["before"], [end]))

    candidate = edited(model.onnx, tmp_path / "negated.onnx", negated)
    comparison = comparison_of(model.onnx, candidate, batch.inputs, tolerance=GATE, lengths=batch.lengths)
    assert comparison.culprit.value == end
    assert not comparison.outputs[start].problem
    assert comparison.outputs[end].problem


def test_what_only_padding_reads_isnt_an_error(embedding, batch, tmp_path):
    """The padding's embedding changed: nothing that counts may depend on it."""

    def other_padding(graph):
        table = node_in(graph, "embeddings.word_embeddings", "Gather").input[0]
        constant_changed(graph, table, lambda array: np.where(np.arange(len(array))[:, None] == 0, 3.0, array))

    inputs, lengths = batch.inputs, batch.lengths
    assert lengths["sequence"].min() < inputs["input_ids"].shape[1]
    candidate = edited(embedding.onnx, tmp_path / "padding.onnx", other_padding)
    assert comparison_of(embedding.onnx, candidate, inputs, tolerance=GATE, lengths=lengths).agrees
    assert not comparison_of(embedding.onnx, candidate, inputs, tolerance=GATE).agrees


def test_fp16_of_a_model_agrees(exported, tmp_path):
    precision = PRECISIONS.get("fp16")
    precision.rewrite(exported.onnx, tmp_path / "half.onnx", Rewriting())
    batch = exported.case(4, 20, seed=3)
    comparison = comparison_of(
        exported.onnx, tmp_path / "half.onnx", batch.inputs, tolerance=GATE, lengths=batch.lengths
    )
    assert comparison.agrees, comparison.explanation()
    assert comparison.unmatched == ()
    assert 0 < comparison.contributors(1)[0].own.relative_error < 0.01


@pytest.fixture(scope="module")
def observed(embedding, tmp_path_factory):
    out = tmp_path_factory.mktemp("observed") / "observations.npz"
    batches = [embedding.case(8, 12 + seed, seed).inputs for seed in range(6)]
    observations_from_onnx(embedding.onnx, batches, masks=["attention_mask"], out=out)
    return read_observations(out)


@pytest.mark.parametrize("name", PRECISIONS.names())
def test_a_value_keeps_its_name_as_long_as_it_means_the_same(embedding, batch, observed, name, tmp_path):
    precision = PRECISIONS.get(name)
    how = Rewriting(observed=None if precision.data == Data.UNUSED else observed, smoothing=0.5)
    precision.rewrite(embedding.onnx, tmp_path / "rewritten.onnx", how)
    wide = Tolerance(min_cosine=0.5, mean_cosine=0.9)
    comparison = comparison_of(
        embedding.onnx, tmp_path / "rewritten.onnx", batch.inputs, tolerance=wide, lengths=batch.lengths
    )
    assert comparison.unmatched == ()
    assert comparison.faulty == []
