"""Ensembles whose answers NumPy can compute: words -> ids -> the mean of their rows in a table.

One takes a text, the other two texts apart and answers with the difference of their means. Their configurations,
ragged heads and tokenizers are those that the build writes. Beside them lie models for single traits of the ONNX
Runtime backend.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tritonpack import repository as repository_room
from tritonpack.core.model import ModelTraits
from tritonpack.core.tensors import TensorSpec
from tritonpack.inputs import INPUTS
from tritonpack.repository.ensemble import Encoder, Serving, encoder_config, ensemble_config, stage_config
from tritonpack.repository.pbtxt import render
from tritonpack.stages.assemble import steps_of
from tritonpack.stages.raggedize import ragged_from_onnx
from tritonpack.tasks import Answer

DIMENSIONS = 4
MAX_LENGTH = 16
MAX_BATCH = 8
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))]
TABLE = np.random.default_rng(3).normal(size=(len(VOCABULARY), DIMENSIONS)).astype(np.float32)
TABLE[0] = 1000.0  # a padding row that isn't masked away shows
SERVING = Serving(
    max_batch=MAX_BATCH,
    queue_delay_us=5000,
    instances=1,
    tokenizer_instances=1,
    postprocessor_instances=1,
    threads=1,
    response_cache=False,
    warmup=True,
)
_MODEL = ModelTraits({"pad_token_id": 0}, MAX_LENGTH)
_OUTPUTS = (TensorSpec("embedding_output", "float32", ("batch", DIMENSIONS)),)
_ANSWER = Answer(
    (TensorSpec("embedding", "float32", ("batch", DIMENSIONS)),), renames={"embedding": "embedding_output"}
)


def ids_of(text: str) -> list[int]:
    """The ids that the tokenizer must give: [CLS] words [SEP], cut to the maximum."""
    words = [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in text.split()]
    return [2, *words[: MAX_LENGTH - 2], 3]


def embed(text: str) -> np.ndarray:
    """What the ensemble must answer, (d,) float32."""
    return TABLE[ids_of(text)].mean(axis=0)


def text_of_words(count: int, seed: int = 0) -> str:
    """Draw a text of some words."""
    drawn = np.random.default_rng([seed, count]).integers(0, 60, count)
    return " ".join(f"w{number}" for number in drawn)


def write_ensemble(repository: Path, name: str = "tiny") -> Path:
    """Write the ensemble `name` of a text and its two models."""
    return _write_ensemble(repository, name, "text", _mean_of_rows())


def write_pairs(repository: Path) -> Path:
    """Write the ensemble `pairs` of two texts and its two models: the first's mean minus the second's."""
    return _write_ensemble(repository, "pairs", "two_texts", _difference_of_means())


def _write_ensemble(repository: Path, name: str, kind: str, graph: onnx.ModelProto) -> Path:
    input_ = INPUTS.get(kind)
    options = input_.options(kind=kind)
    inputs, axes = tuple(input_.graph_inputs(options, _MODEL)), tuple(input_.axes(options, _MODEL))
    encoder = Encoder({"backend": "onnxruntime"}, "cpu.onnx", 1, inputs, _OUTPUTS, axes)
    steps = steps_of(input_, options, _MODEL, {}, _ANSWER, _OUTPUTS)
    configs = (
        ensemble_config(name, SERVING, encoder, steps),
        stage_config(name, SERVING, steps.before, max_batch=MAX_BATCH, instances=1),
        encoder_config(name, SERVING, encoder),
    )
    for config in configs:
        (repository / config.name / "1").mkdir(parents=True)
        (repository / config.name / "config.pbtxt").write_text(render(config))
    code, tokenizer = Path(repository_room.__file__).parent / "python_models", repository / f"{name}_tokenizer" / "1"
    shutil.copy(code / "model.py", tokenizer / "model.py")
    shutil.copy(code / f"{steps.before.file}.py", tokenizer / "stage.py")
    _tokenizer().save(str(tokenizer / "tokenizer.json"))
    padded = repository / "padded.onnx"
    onnx.save(graph, padded)
    ragged_from_onnx(padded, axes=axes, out=repository / f"{name}_encoder" / "1" / "cpu.onnx")
    padded.unlink()
    return repository


def write_plain_models(repository: Path) -> Path:
    """Write `double` (batched, any width), `unbatched` (no batch axis) and `parts` (two outputs, may fail)."""
    twice = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "columns"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
    )
    # Long enough that requests sent together are joined on a slow machine too; a full batch doesn't wait.
    batching = "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 300000 }"
    for name, batch, dims in (("double", batching, "[ -1 ]"), ("unbatched", "max_batch_size: 0", "[ -1, -1 ]")):
        _write_model(
            repository,
            name,
            twice,
            f'{batch} input [ {{ name: "x" data_type: TYPE_FP32 dims: {dims} }} ]'
            f' output [ {{ name: "y" data_type: TYPE_FP32 dims: {dims} }} ]',
        )
    # Reshape to two columns fails at run time where a row has an odd number of elements.
    parts = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "pairs"], ["xy"]),
            helper.make_node("ReduceSum", ["xy", "axes"], ["total"], keepdims=0),
            helper.make_node("Identity", ["x"], ["same"]),
        ],
        "parts",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "columns"])],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["rows"]),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, ["rows", "columns"]),
        ],
        [_int64("pairs", [0, -1, 2]), _int64("axes", [1, 2])],
    )
    _write_model(
        repository,
        "parts",
        parts,
        f'{batching} input [ {{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }} ] output ['
        ' { name: "total" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } },'
        ' { name: "same" data_type: TYPE_FP32 dims: [ -1 ] } ]',
    )
    return repository


def _write_model(repository: Path, name: str, graph: onnx.GraphProto, config: str) -> None:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    onnx.save(_model(graph), folder / "1" / "model.onnx")
    group = "instance_group [ { count: 1 kind: KIND_CPU } ]"
    (folder / "config.pbtxt").write_text(f'name: "{name}" backend: "onnxruntime" {config} {group}\n')


def _tokenizer() -> Tokenizer:
    words = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    # As in many published tokenizers: the served model must not pad to it.
    tokenizer.enable_padding(length=MAX_LENGTH)
    return tokenizer


def _mean_of_rows() -> onnx.ModelProto:
    return _model(_graph("mean", {"": "sequence"}, _mean_nodes("", "embedding_output")))


def _difference_of_means() -> onnx.ModelProto:
    nodes = [node for side in ("left_", "right_") for node in _mean_nodes(side, f"{side}mean")]
    nodes.append(helper.make_node("Sub", ["left_mean", "right_mean"], ["embedding_output"]))
    return _model(_graph("difference", {"left_": "left", "right_": "right"}, nodes))


def _mean_nodes(side: str, output: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Gather", ["table", f"{side}input_ids"], [f"{side}vectors"]),
        helper.make_node("Cast", [f"{side}attention_mask"], [f"{side}mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", [f"{side}mask", "last"], [f"{side}weights"]),
        helper.make_node("Mul", [f"{side}vectors", f"{side}weights"], [f"{side}kept"]),
        helper.make_node("ReduceSum", [f"{side}kept", "second"], [f"{side}sum"], keepdims=0),
        helper.make_node("ReduceSum", [f"{side}weights", "second"], [f"{side}count"], keepdims=0),
        helper.make_node("Div", [f"{side}sum", f"{side}count"], [output]),
    ]


def _graph(name: str, axes: dict[str, str], nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info(f"{side}{tensor}", TensorProto.INT64, ["batch", axis])
            for side, axis in axes.items()
            for tensor in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding_output", TensorProto.FLOAT, ["batch", DIMENSIONS])],
        [numpy_helper.from_array(TABLE, "table"), _int64("last", [-1]), _int64("second", [1])],
    )


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _int64(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)
