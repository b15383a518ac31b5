"""ONNX Runtime as a Python-based backend: it serves the configuration that the C++ backend serves, unchanged.

Where the C++ backend flattens a ragged batch into one call, this one sorts the rows of all its requests by
length and runs them in parts that hold little padding, which on a CPU decides the speed. Parameters:

    intra_op_thread_count, inter_op_thread_count   as in the C++ backend; 0 lets ONNX Runtime choose
    session.*, optimization.*                      passed to the session, e.g. session.intra_op.allow_spinning
    row_mask.<input>                               inputs by name, separated by commas: where <input> is zero at the
                                                   end of a row, they are padding
    max_padding_waste                              the largest share of a part that may be padding
    call_cost                                      cost of one call, in elements of a row
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from ragged import batch_input_value, join_rows, kept_lengths, parts_from_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]
    Row = dict[str, Array]

_MAX_PADDING_WASTE = 0.25
_CALL_COST = 16.0
_SPIN_US = "20"
_ROW_MASK = "row_mask."


class TritonPythonModel:
    """One instance: one session."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session.

        Args:
            args: Triton's description of the model and this instance.
        """
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        folder = Path(args["model_repository"], args["model_version"])
        file = folder / (config.get("default_model_filename") or "model.onnx")
        if not file.is_file():
            raise pb_utils.TritonModelException(f"there is no engine file {file}")
        self.session = onnxruntime.InferenceSession(
            str(file), session_options(parameters), providers=["CPUExecutionProvider"]
        )
        self.inputs = [entry["name"] for entry in config["input"]]
        self.ragged = {entry["name"] for entry in config["input"] if entry.get("allow_ragged_batch")}
        self.outputs = [entry["name"] for entry in config["output"]]
        self.batch_inputs = [_batch_input(entry) for entry in config.get("batch_input", [])]
        self.batches = config.get("max_batch_size", 0) > 0
        self.masked = {
            name.removeprefix(_ROW_MASK): value.split(",")
            for name, value in parameters.items()
            if name.startswith(_ROW_MASK)
        }
        # What a row costs is told by one input of each axis along which rows differ.
        self.measured = list(self.masked) or [name for name in self.inputs if name in self.ragged][:1]
        self.max_padding_waste = float(parameters.get("max_padding_waste", _MAX_PADDING_WASTE))
        self.call_cost = float(parameters.get("call_cost", _CALL_COST))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that the dynamic batcher joined, in their order."""
        run = self._run_ragged if self.ragged else self._run_equal
        return run(requests)

    def _arrays(self, request: Any) -> Row:
        return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}

    def _run_ragged(self, requests: list[Any]) -> list[Any]:
        """Run the rows of all requests in parts of similar length."""
        rows: list[Row] = []
        first_row = [0]
        for request in requests:
            rows += self._rows(self._arrays(request))
            first_row.append(len(rows))
        lengths = np.array([sum(row[name].size for name in self.measured) for row in rows])
        answers: list[list[Array] | str] = [""] * len(rows)
        for part in parts_from_lengths(lengths, self.max_padding_waste, self.call_cost):
            outputs = self._run(self._feeds([rows[row] for row in part]), len(part))
            for place, row in enumerate(part):
                answers[row] = outputs if isinstance(outputs, str) else [out[place : place + 1] for out in outputs]
        spans = zip(requests, first_row, first_row[1:], strict=False)
        return [self._response(request, answers[begin:end]) for request, begin, end in spans]

    def _rows(self, arrays: Row) -> list[Row]:
        """Cut a request into rows; ragged inputs lose the batch dimension and the padding at their end."""
        count = len(next(iter(arrays.values())))
        kept: dict[str, Any] = {}
        for mask, names in self.masked.items():
            if mask in arrays:
                width = arrays[mask].shape[1:]
                kept |= dict.fromkeys((n for n in names if arrays[n].shape[1:] == width), kept_lengths(arrays[mask]))
        rows: list[Row] = []
        for index in range(count):
            row: Row = {}
            for name, array in arrays.items():
                if name not in self.ragged:
                    row[name] = array[index : index + 1]
                elif name in kept:
                    row[name] = array[index, : kept[name][index]]
                else:
                    row[name] = array[index]
            rows.append(row)
        return rows

    def _feeds(self, rows: Sequence[Row]) -> Row:
        """Join rows into one call's inputs, ragged ones flat; each row counts as a request of one row."""
        feeds = {}
        for name in rows[0]:
            pieces = [row[name] for row in rows]
            feeds[name] = np.concatenate([piece.reshape(-1) for piece in pieces] if name in self.ragged else pieces)
        for kind, source, target, dtype in self.batch_inputs:
            shapes = [(1, *row[source].shape) if source in self.ragged else row[source].shape for row in rows]
            feeds[target] = batch_input_value(kind, shapes, dtype)
        return feeds

    def _run_equal(self, requests: list[Any]) -> list[Any]:
        """Join requests of one shape on the batch axis; a model without batches runs them one by one."""
        groups: dict[Any, list[int]] = defaultdict(list)
        inputs = [self._arrays(request) for request in requests]
        for index, arrays in enumerate(inputs):
            key = tuple((name, array.shape[1:]) for name, array in arrays.items())
            groups[key if self.batches else index].append(index)
        responses: list[Any] = [None] * len(requests)
        for members in groups.values():
            sizes = [next(iter(inputs[index].values())).shape[0] if self.batches else 1 for index in members]
            ends = np.cumsum(sizes)
            joined = {name: np.concatenate([inputs[i][name] for i in members]) for name in inputs[members[0]]}
            for kind, source, target, dtype in self.batch_inputs:
                joined[target] = batch_input_value(kind, [inputs[i][source].shape for i in members], dtype)
            outputs = self._run(joined, int(ends[-1]))
            for index, size, end in zip(members, sizes, ends, strict=True):
                answer: list[Array] | str = outputs
                if not isinstance(outputs, str) and len(members) > 1:
                    answer = [output[end - size : end] for output in outputs]
                responses[index] = self._response(requests[index], [answer])
        return responses

    def _run(self, feeds: Row, rows: int) -> list[Array] | str:
        """Call the session; return its outputs, or in words why it failed.

        A failure belongs to the requests of this call alone, so it's carried to them as text.
        """
        try:
            outputs: list[Array] = self.session.run(self.outputs, feeds)
        except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime raises is the requests' answer
            return str(error)
        for name, output in zip(self.outputs, outputs, strict=True):
            if self.batches and (not output.ndim or output.shape[0] != rows):
                return f"output '{name}' has shape {list(output.shape)} for a batch of {rows} rows"
        return outputs

    def _response(self, request: Any, answers: Sequence[list[Array] | str]) -> Any:
        """Answer one request from the outputs of its rows."""
        for answer in answers:
            if isinstance(answer, str):
                return pb_utils.InferenceResponse([], pb_utils.TritonError(f"ONNX Runtime: {answer}"))
        wanted = request.requested_output_names()
        tensors = []
        for place, name in enumerate(self.outputs):
            if name in wanted:
                pieces = [answer[place] for answer in answers if not isinstance(answer, str)]
                tensors.append(pb_utils.Tensor(name, np.ascontiguousarray(join_rows(pieces))))
        return pb_utils.InferenceResponse(tensors)


def session_options(parameters: dict[str, str]) -> Any:
    """Make the session's options.

    A thread that waits for the next operator spins for a moment, since waking it costs as much as a small
    operator; it spins no longer, since it would take the core from the server and the other stubs.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    entries = {"session.intra_op.spin_duration_us": _SPIN_US}
    entries |= {name: value for name, value in parameters.items() if name.startswith(("session.", "optimization."))}
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return options


def _batch_input(entry: dict[str, Any]) -> tuple[str, str, str, Any]:
    dtype = pb_utils.triton_string_to_numpy(entry["data_type"])
    return entry["kind"], entry["source_input"][0], entry["target_name"][0], dtype
