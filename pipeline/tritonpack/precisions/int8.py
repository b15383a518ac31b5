"""Static INT8 as explicit Q/DQ pairs: the same file runs in ONNX Runtime and compiles in TensorRT.

Ranges follow from what was observed on calibration data, symmetric; weights have a scale per output channel.
Which products stay in floating point is the caller's to say: a search finds out what each of them costs. A
graph without products has its tables in INT8.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Group, Rewriting
from tritonpack.precisions._groups import check_kept, groups_of, products_by_value
from tritonpack.precisions._qdq import insert_pairs
from tritonpack.precisions._quantize import quantized_facts, with_products_alone
from tritonpack.precisions._ranges import Range, range_of
from tritonpack.precisions._tables import with_tables_in_int8

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts


class Int8:
    """Quantizes and dequantizes around every product with weights, except those of the groups to keep."""

    version = 5
    packages = ("onnx",)
    data = Data.NEEDED
    searchable = True
    engines = frozenset({"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(min_cosine=0.95, mean_cosine=0.98)

    def groups(self, onnx: Path) -> list[Group]:
        """Products with weights that read one value."""
        return list(groups_of(with_products_alone(onnx).graph).values())

    def studied(self, onnx: Path, how: Rewriting) -> Rewriting:
        """With the range and the smoothing of every group."""
        graph = with_products_alone(onnx).graph
        return replace(how, ranges=_ranges(graph, groups_of(graph), how))

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Choose ranges and smoothing by what was observed, and insert the pairs.

        Raises:
            LoweringError: nothing was observed, nothing is left to quantize, or a group to keep doesn't exist.
        """
        model = with_products_alone(onnx)
        groups = groups_of(model.graph)
        check_kept(groups.values(), how.keep, "int8")
        if not groups:
            return _tables_alone(model, out)
        chosen = {value: group for value, group in groups.items() if group.name not in how.keep}
        ranges = _ranges(model.graph, chosen, how)
        insert_pairs(model, ranges)
        out.write_bytes(model.SerializeToString(deterministic=True))
        kept = [group.name for group in groups.values() if group.name in how.keep]
        return {**quantized_facts(out), "kept": kept, **_facts_of_ranges(chosen, ranges)}


PRECISION = Int8()


def _tables_alone(model: Any, out: Path) -> Facts:
    """The rewrite of a graph that looks vectors up and multiplies nothing, as word vectors are.

    Raises:
        LoweringError: it looks nothing up either.
    """
    tables = with_tables_in_int8(model)
    if not tables:
        raise LoweringError("int8: the graph has no product with weights and no table", hint="Use precision: fp32.")
    out.write_bytes(model.SerializeToString(deterministic=True))
    return {"quantized_tables": tables}


def _ranges(graph: Any, chosen: Mapping[str, Group], how: Rewriting) -> dict[str, Range]:
    """The range of each value that the chosen groups read.

    Raises:
        LoweringError: nothing, or not this value, was observed.
    """
    import onnx

    if how.ranges is not None:
        return {value: how.ranges[value] for value in chosen}
    if how.observed is None:
        raise LoweringError("int8: no calibration data", hint="Add calibration: {file: FILE} to the recipe.")

    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = products_by_value(graph)
    readers = Counter(name for nodes in products.values() for name in {node.input[1] for node in nodes})
    found = {}
    for value, group in chosen.items():
        if value not in how.observed.activations:
            raise LoweringError(f"int8: the input '{value}' of {group.name} wasn't observed on calibration data")
        names = [node.input[1] for node in products[value]]
        # Weights that another group multiplies too can't take this one's outliers.
        smoothing = how.smoothing if all(readers[name] == 1 for name in names) else None
        weights = [onnx.numpy_helper.to_array(constants[name]) for name in names]
        found[value] = range_of(how.observed.activations[value], weights, how.calibrator, smoothing)
    return found


def _facts_of_ranges(chosen: Mapping[str, Group], ranges: Mapping[str, Range]) -> Facts:
    smoothed = {
        group.name: {
            "strength": ranges[value].strength,
            "error_before": round(ranges[value].plain_error, 5),
            "error_after": round(ranges[value].error, 5),
        }
        for value, group in chosen.items()
        if ranges[value].divisors is not None
    }
    return {
        "calibrators": dict(sorted(Counter(str(found.calibrator) for found in ranges.values()).items())),
        "smoothed": smoothed,
        "errors": {group.name: round(ranges[value].error, 5) for value, group in chosen.items()},
    }
