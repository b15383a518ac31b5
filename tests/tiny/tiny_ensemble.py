"""An ensemble whose answers NumPy can compute: words -> ids -> the mean of their rows in a table.

Its configurations, its ragged head and its tokenizer are those that the build writes. Beside it lie models
for single traits of the ONNX Runtime backend.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tritonpack import repository as repository_room
from tritonpack.core.tensors import TensorSpec
from tritonpack.repository.ensemble import Encoder, Serving, encoder_config, ensemble_config, tokenizer_config
from tritonpack.repository.pbtxt import render
from tritonpack.stages.raggedize import LONGEST_ROW, ROW_LENGTH, ragged_from_onnx

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
    threads=1,
    response_cache=False,
    warmup=True,
)
_TOKENS = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask"))
_ANSWERS = (TensorSpec("embedding_output", "float32", ("batch", DIMENSIONS)),)


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
    """Write the ensemble `name` and its two models."""
    encoder = Encoder(
        {"backend": "onnxruntime"}, "cpu.onnx", 1, _TOKENS, _ANSWERS, ROW_LENGTH, LONGEST_ROW, "attention_mask"
    )
    configs = (
        ensemble_config(name, SERVING, encoder, {"embedding": "embedding_output"}),
        tokenizer_config(name, SERVING, _TOKENS, max_length=MAX_LENGTH, pad_id=0),
        encoder_config(name, SERVING, encoder),
    )
    for config in configs:
        (repository / config.name / "1").mkdir(parents=True)
        (repository / config.name / "config.pbtxt").write_text(render(config))
    tokenizer = repository / f"{name}_tokenizer" / "1"
    shutil.copy(Path(repository_room.__file__).parent / "python_models" / "tokenizer.py", tokenizer / "model.py")
    _tokenizer().save(str(tokenizer / "tokenizer.json"))
    padded = repository / "padded.onnx"
    onnx.save(_mean_of_rows(), padded)
    ragged_from_onnx(
        padded,
        pads={"input_ids": 0, "attention_mask": 0},
        length=MAX_LENGTH,
        dynamic=True,
        out=repository / f"{name}_encoder" / "1" / "cpu.onnx",
    )
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
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
            helper.make_node("Mul", ["vectors", "weights"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "second"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["weights", "second"], ["count"], keepdims=0),
            helper.make_node("Div", ["sum", "count"], ["embedding_output"]),
        ],
        "mean",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding_output", TensorProto.FLOAT, ["batch", DIMENSIONS])],
        [numpy_helper.from_array(TABLE, "table"), _int64("last", [-1]), _int64("second", [1])],
    )
    return _model(graph)


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _int64(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)
