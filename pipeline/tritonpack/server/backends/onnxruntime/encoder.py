"""An engine file behind Triton's configuration, without Triton: arrays in, arrays out.

It serves as a model of its own (``model.py``) and as a step of a whole pipeline (``../pipeline``). The configuration
is the one that the C++ backend reads, as JSON. Where that backend flattens a ragged batch into one call, this one
runs the rows of all requests in the parts that cost the least. Parameters:

    intra_op_thread_count, session.*, ...          what the library is told (``sessions.py``)
    row_mask.<input>                               inputs by name, separated by commas: where <input> is zero at the
                                                   end of a row, they are padding
    call_cost, grid_cost, square_cost              what a call costs, what a cell of its padded rows costs, and what
                                                   a cell costs for each cell of its row; without any of them they
                                                   are measured when the model is loaded (``costs.py``)
    max_padding_waste                              the largest share of a part that may be padding
    max_call_tokens                                the most tokens of a call, padding included, unless it has one row;
                                                   the library's best if it isn't given (``sessions.py``)
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from costs import Costs, fitted_costs, number_from_parameter, parts_from_lengths, pieces_of_parts
from ragged import batch_input_value, join_rows, kept_lengths
from sessions import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Array = np.ndarray[Any, Any]
    Row = dict[str, Array]

_ROW_MASK = "row_mask."
TYPES = {
    "TYPE_BOOL": np.bool_,
    "TYPE_INT8": np.int8,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
}


class Encoder:
    """One session.

    Attributes:
        outputs: the names of what it gives.
        costs: by what rows are cut into parts; None where rows have one length.
        rows, calls, elements, cells: what was run since the start: rows, in so many calls, their elements, and these
            with the padding of each call; only where rows have different lengths.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        """Open the session.

        Args:
            config: the model's configuration as JSON.
            folder: the version's folder.

        Raises:
            ValueError: there is no engine file or it can't be read, or a parameter isn't what it should be.
        """
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        file = folder / (config.get("default_model_filename") or "model.onnx")
        if not file.is_file():
            raise ValueError(f"there is no engine file {file}")
        self._session = SESSIONS[config["backend"]](file, parameters)
        self.inputs = [entry["name"] for entry in config["input"]]
        self.ragged = {entry["name"] for entry in config["input"] if entry.get("allow_ragged_batch")}
        self.outputs: list[str] = [entry["name"] for entry in config["output"]]
        self.batch_inputs = [_batch_input(entry) for entry in config.get("batch_input", [])]
        self.batches = config.get("max_batch_size", 0) > 0
        self.masked = {
            name.removeprefix(_ROW_MASK): value.split(",")
            for name, value in parameters.items()
            if name.startswith(_ROW_MASK)
        }
        # What a row costs is told by one input of each axis along which rows differ.
        self.measured = list(self.masked) or [name for name in self.inputs if name in self.ragged][:1]
        self._most_tokens = self._most_of_a_call(config, parameters)
        self._forget()
        self.costs = self._costs(config, parameters) if self.ragged else None

    def _forget(self) -> None:
        self.rows = self.calls = self.elements = self.cells = 0

    def run(self, requests: Sequence[Row]) -> list[Row | str]:
        """Answer requests that came together.

        Args:
            requests: of each its inputs by name, ``(rows, ...)``.

        Returns:
            For each request its outputs by name, or why it failed.
        """
        return self._run_ragged(requests) if self.ragged else self._run_equal(requests)

    def _run_ragged(self, requests: Sequence[Row]) -> list[Row | str]:
        """Run the rows of all requests in parts."""
        columns, ends = self._columns(requests)
        lengths = self._lengths(columns)
        parts = pieces_of_parts(parts_from_lengths(lengths, self.costs or Costs()), lengths, self._most_tokens)
        outputs = [self._part(columns, part, lengths) for part in parts]
        spans = [*itertools.pairwise(ends)]
        whole = _whole(parts, outputs, len(lengths))
        if whole is not None:
            return [dict(zip(self.outputs, [out[begin:end] for out in whole], strict=True)) for begin, end in spans]
        pieces: list[list[Array] | str] = [""] * len(lengths)
        for part, found in zip(parts, outputs, strict=True):
            for place, row in enumerate(part.tolist()):
                pieces[row] = found if isinstance(found, str) else [out[place : place + 1] for out in found]
        return [self._joined(pieces[begin:end]) for begin, end in spans]

    def _columns(self, requests: Sequence[Row]) -> tuple[dict[str, list[Array]], list[int]]:
        """Cut requests into rows; ragged inputs lose the batch dimension and the padding at their end.

        Returns:
            Of each input its rows, and where each request's rows end, with 0 in front.
        """
        columns: dict[str, list[Array]] = {name: [] for name in requests[0]}
        ends = [0]
        for arrays in requests:
            kept = self._kept(arrays) if self.masked else {}
            for name, array in arrays.items():
                if name not in self.ragged:
                    columns[name] += [array[row : row + 1] for row in range(len(array))]
                elif name in kept:
                    columns[name] += [array[row, :length] for row, length in enumerate(kept[name])]
                else:
                    columns[name] += list(array)
            ends.append(ends[-1] + len(array))
        return columns, ends

    def _kept(self, arrays: Row) -> dict[str, list[int]]:
        """Lengths of the rows of inputs that have padding at their end."""
        kept: dict[str, list[int]] = {}
        for mask, names in self.masked.items():
            array = arrays.get(mask)
            if array is None or (array.shape[1] and (array[0, -1] if len(array) == 1 else array[:, -1].all())):
                continue
            lengths = kept_lengths(array).tolist()
            kept |= {name: lengths for name in names if arrays[name].shape[1:] == array.shape[1:]}
        return kept

    def _lengths(self, columns: dict[str, list[Array]]) -> Array:
        lengths = np.array([row.size for row in columns[self.measured[0]]])
        for name in self.measured[1:]:
            lengths += np.array([row.size for row in columns[name]])
        return lengths

    def _part(self, columns: dict[str, list[Array]], part: Array, lengths: Array) -> list[Array] | str:
        """Run some of the rows, ragged inputs flat; each row counts as a request of one row."""
        every = len(part) == len(lengths)
        rows = part.tolist()
        feeds: Row = {}
        for name, column in columns.items():
            pieces = column if every else [column[row] for row in rows]
            if name in self.ragged and pieces[0].ndim > 1:
                pieces = [piece.reshape(-1) for piece in pieces]
            feeds[name] = np.concatenate(pieces)
        for kind, source, target, dtype in self.batch_inputs:
            flat = source in self.ragged
            shapes = [(1, *columns[source][row].shape) if flat else columns[source][row].shape for row in rows]
            feeds[target] = batch_input_value(kind, shapes, dtype)
        of_part = lengths[part]
        self.rows += len(part)
        self.calls += 1
        self.elements += int(of_part.sum())
        self.cells += len(part) * int(of_part.max())
        return self._call(feeds, len(part))

    def _run_equal(self, requests: Sequence[Row]) -> list[Row | str]:
        """Join requests of one shape on the batch axis; a model without batches runs them one by one."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for index, arrays in enumerate(requests):
            key = tuple((name, array.shape[1:]) for name, array in arrays.items())
            groups[key if self.batches else index].append(index)
        answers: list[Row | str] = [""] * len(requests)
        for members in groups.values():
            sizes = [next(iter(requests[index].values())).shape[0] if self.batches else 1 for index in members]
            ends = np.cumsum(sizes)
            joined = {name: np.concatenate([requests[i][name] for i in members]) for name in requests[members[0]]}
            for kind, source, target, dtype in self.batch_inputs:
                joined[target] = batch_input_value(kind, [requests[i][source].shape for i in members], dtype)
            outputs = self._call(joined, int(ends[-1]))
            for index, size, end in zip(members, sizes, ends, strict=True):
                if isinstance(outputs, str):
                    answers[index] = outputs
                    continue
                own = [output[end - size : end] for output in outputs] if len(members) > 1 else outputs
                answers[index] = dict(zip(self.outputs, own, strict=True))
        return answers

    def _call(self, feeds: Row, rows: int) -> list[Array] | str:
        """Call the session; return its outputs, or in words why it failed.

        A failure belongs to the requests of this call alone, so it's carried to them as text.
        """
        library = self._session.library
        try:
            outputs = self._session.run(self.outputs, feeds)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is the requests' answer
            return f"{library}: {error}"
        for name, output in zip(self.outputs, outputs, strict=True):
            if self.batches and (not output.ndim or output.shape[0] != rows):
                return f"{library}: output '{name}' has shape {list(output.shape)} for a batch of {rows} rows"
        return outputs

    def _joined(self, pieces: list[list[Array] | str]) -> Row | str:
        """Answer one request from the outputs of its rows."""
        found: list[list[Array]] = []
        for piece in pieces:
            if isinstance(piece, str):
                return piece
            found.append(piece)
        return {name: join_rows([piece[place] for piece in found]) for place, name in enumerate(self.outputs)}

    def _most_of_a_call(self, config: dict[str, Any], parameters: dict[str, str]) -> float:
        given = parameters.get("max_call_tokens")
        if given is not None:
            return max(1.0, number_from_parameter("max_call_tokens", given))
        kinds = {entry["name"]: TYPES[entry["data_type"]] for entry in config["input"]}
        # A sample of a sound isn't a token.
        tokens = all(np.issubdtype(kinds[name], np.integer) for name in self.measured)
        return self._session.best_tokens if tokens else np.inf

    def _costs(self, config: dict[str, Any], parameters: dict[str, str]) -> Costs:
        given = Costs.from_parameters(parameters)
        if given is not None:
            return given

        def run(lengths: Sequence[int]) -> None:
            failure = self._part(self._rows_of(config, lengths), np.arange(len(lengths)), np.array(lengths))
            if isinstance(failure, str):
                raise ValueError(failure)  # noqa: TRY004 - it's no wrong type: the call failed

        fitted = fitted_costs(run)
        self._forget()
        return fitted or Costs()

    def _rows_of(self, config: dict[str, Any], lengths: Sequence[int]) -> dict[str, list[Array]]:
        """Rows of zeros, none of them padding, of an even share of these lengths along each axis."""
        rows: dict[str, list[Array]] = {}
        for entry in config["input"]:
            name, dtype = entry["name"], TYPES[entry["data_type"]]
            make = np.ones if name in self.masked else np.zeros
            dims = [max(int(size), 1) for size in entry["dims"]]
            rows[name] = [make(length if name in self.ragged else (1, *dims), dtype) for length in lengths]
        return rows


def _whole(parts: list[Array], outputs: list[list[Array] | str], rows: int) -> list[Array] | None:
    """The outputs of all parts in the order of the rows; None where a part failed or shapes differ."""
    found = [output for output in outputs if not isinstance(output, str)]
    if len(found) < len(outputs):
        return None
    if len(found) == 1:
        return found[0]
    whole = []
    for pieces in zip(*found, strict=True):
        if len({piece.shape[1:] for piece in pieces}) > 1:
            return None
        array = np.empty((rows, *pieces[0].shape[1:]), pieces[0].dtype)
        for part, piece in zip(parts, pieces, strict=True):
            array[part] = piece
        whole.append(array)
    return whole


def _batch_input(entry: dict[str, Any]) -> tuple[str, str, str, Any]:
    return entry["kind"], entry["source_input"][0], entry["target_name"][0], TYPES[entry["data_type"]]
