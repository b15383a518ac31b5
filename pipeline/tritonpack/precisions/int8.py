"""Static INT8 as explicit Q/DQ pairs: the same file runs in ONNX Runtime and compiles in TensorRT.

Ranges are the least and greatest value seen on calibration data, symmetric; weights have a scale per
channel. A product whose input has outliers would lose all its resolution to them, so it stays in
floating point: what counts as an outlier is measured, not named by layer. A graph without products has its
tables in INT8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import Tensors, Tolerance
from tritonpack.precisions._quantize import QUANTIZABLE, quantized_facts, quietly, weight_nodes, with_products_alone
from tritonpack.precisions._tables import with_tables_in_int8

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts

_OUTLIER_QUANTILE = 0.999
_OUTLIER_RATIO = 3.0
"""A product is kept in floating point when the greatest input is this many times the 99.9% quantile."""


class Int8:
    """Quantizes and dequantizes around every product with weights, except where outliers forbid it."""

    version = 3
    packages = ("onnx", "onnxruntime")
    needs_calibration = True
    engines = frozenset({"onnxruntime", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(min_cosine=0.95, mean_cosine=0.98)

    def rewrite(self, onnx: Path, calibration: list[Tensors], out: Path, *, keep_fp32: tuple[str, ...] = ()) -> Facts:
        """Calibrate, decide what to keep, insert the pairs.

        Raises:
            LoweringError: there is no product that INT8 would suit, or no calibration data.
        """
        del keep_fp32  # the products are in INT8; all that is between them is in FP32 anyway
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        if not calibration:
            raise LoweringError("int8: no calibration data", hint="Add calibration: {file: FILE} to the recipe.")
        model = with_products_alone(onnx)
        ratios = _outlier_ratios(model, calibration)
        if not ratios:
            return _tables_alone(model, out)
        kept = sorted(name for name, ratio in ratios.items() if ratio > _OUTLIER_RATIO)
        if len(kept) == len(ratios):
            raise LoweringError(
                "int8: every product has outliers in its input", hint="Use precision: int8_dynamic or fp16."
            )
        with quietly():
            quantize_static(
                model,
                out,
                _Reader(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTIZABLE),
                nodes_to_quantize=[name for name in ratios if name not in kept],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "MatMulConstBOnly": True,
                    "OpTypesToExcludeOutputQuantization": list(QUANTIZABLE),
                },
            )
        return {**quantized_facts(out), "kept": kept, "outlier_ratio": {n: round(r, 2) for n, r in ratios.items()}}


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


class _Reader:
    """Feeds ONNX Runtime's calibrator."""

    def __init__(self, batches: list[Tensors]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Tensors | None:
        return next(self._batches, None)


def _outlier_ratios(model: Any, calibration: list[Tensors]) -> dict[str, float]:
    """For each product with weights: its input's greatest magnitude over its 99.9% quantile."""
    import onnx
    import onnxruntime

    nodes = weight_nodes(model.graph)
    if not nodes:
        return {}
    values = sorted({node.input[0] for node in nodes})
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    known = {output.name for output in observed.graph.output}
    observed.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values if value not in known)
    session = onnxruntime.InferenceSession(observed.SerializeToString(), providers=["CPUExecutionProvider"])
    greatest = dict.fromkeys(values, 0.0)
    quantiles: dict[str, list[float]] = {value: [] for value in values}
    for batch in calibration:
        for value, array in zip(values, session.run(values, batch), strict=True):
            magnitudes = np.abs(array)
            greatest[value] = max(greatest[value], float(magnitudes.max()))
            quantiles[value].append(float(np.quantile(magnitudes, _OUTLIER_QUANTILE)))
    typical = {value: max(float(np.mean(q)), 1e-12) for value, q in quantiles.items()}
    return {node.name: greatest[node.input[0]] / typical[node.input[0]] for node in nodes}
