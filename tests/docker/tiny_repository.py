"""An ensemble small enough to read: text -> the letters' embeddings, summed for each row.

The encoder takes ragged input like every encoder that tritonpack builds, so it runs only where the
backend joins rows and gives their lengths. `embed` is the same sum in NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL = "tiny"
_DIMENSIONS = 4
_TABLE = np.random.default_rng(7).normal(size=(256, _DIMENSIONS)).astype(np.float32)

_ENSEMBLE = """
name: "tiny"
platform: "ensemble"
max_batch_size: 8
input [{ name: "text", data_type: TYPE_STRING, dims: [1] }]
output [{ name: "embedding", data_type: TYPE_FP32, dims: [4] }]
ensemble_scheduling {
  step [
    {
      model_name: "tiny_tokenizer", model_version: -1
      input_map { key: "text", value: "text" }
      output_map { key: "tokens", value: "tokens" }
    },
    {
      model_name: "tiny_encoder", model_version: -1
      input_map { key: "tokens", value: "tokens" }
      output_map { key: "embedding", value: "embedding" }
    }
  ]
}
"""

_TOKENIZER = """
name: "tiny_tokenizer"
backend: "python"
max_batch_size: 8
input [{ name: "text", data_type: TYPE_STRING, dims: [1] }]
output [{ name: "tokens", data_type: TYPE_INT64, dims: [-1] }]
instance_group [{ kind: KIND_CPU, count: 1 }]
"""

_ENCODER = """
name: "tiny_encoder"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: 8
input [{ name: "tokens", data_type: TYPE_INT64, dims: [-1], allow_ragged_batch: true }]
batch_input [
  { kind: BATCH_ITEM_SHAPE, target_name: "row_length", data_type: TYPE_INT32, source_input: "tokens" }
]
output [{ name: "embedding", data_type: TYPE_FP32, dims: [4] }]
instance_group [{ kind: KIND_CPU, count: 1 }]
dynamic_batching { max_queue_delay_microseconds: 500 }
"""

# The letters are looked up through the tokenizers package, so that a missing or broken one is seen.
_TOKENIZER_CODE = """
import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer, models, pre_tokenizers


class TritonPythonModel:
    def initialize(self, args):
        self.tokenizer = Tokenizer(models.WordLevel({chr(i): i for i in range(1, 256)}, unk_token="?"))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")

    def execute(self, requests):
        responses = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
            rows = [self.tokenizer.encode(text.decode()).ids for text in texts]
            tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
            for index, row in enumerate(rows):
                tokens[index, : len(row)] = row
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("tokens", tokens)]))
        return responses
"""


def embed(texts: Sequence[str]) -> np.ndarray:
    """What the ensemble must answer, `(n, 4)`; the padding of a row, token 0, counts nothing."""
    return np.stack([_TABLE[[ord(letter) for letter in text]].sum(axis=0) for text in texts])


def write_repository(folder: Path) -> None:
    """Write the three models."""
    for name, config in ("tiny", _ENSEMBLE), ("tiny_tokenizer", _TOKENIZER), ("tiny_encoder", _ENCODER):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config.lstrip(), encoding="utf-8")
    (folder / "tiny_tokenizer/1/model.py").write_text(_TOKENIZER_CODE, encoding="utf-8")
    _write_encoder(folder / "tiny_encoder/1/model.onnx")


def _write_encoder(file: Path) -> None:
    """Sum each row as a difference of running sums, taken where the rows end."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = _TABLE.astype(np.float64)
    table[0] = 0
    constants = {
        "table": table,
        "axis": np.array(0, np.int64),
        "column": np.array([1], np.int64),
        "no_row": np.zeros((1, _DIMENSIONS)),
    }
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["letters"]),
        helper.make_node("CumSum", ["letters", "axis"], ["running"]),
        helper.make_node("Concat", ["no_row", "running"], ["sums"], axis=0),
        helper.make_node("Cast", ["row_length"], ["lengths_2d"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["lengths_2d", "column"], ["lengths"]),
        helper.make_node("CumSum", ["lengths", "axis"], ["ends"]),
        helper.make_node("Sub", ["ends", "lengths"], ["starts"]),
        helper.make_node("Gather", ["sums", "ends"], ["until_end"]),
        helper.make_node("Gather", ["sums", "starts"], ["until_start"]),
        helper.make_node("Sub", ["until_end", "until_start"], ["row_sums"]),
        helper.make_node("Cast", ["row_sums"], ["embedding"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny_encoder",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["total"]),
            helper.make_tensor_value_info("row_length", TensorProto.INT32, ["rows", 1]),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["rows", _DIMENSIONS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)
