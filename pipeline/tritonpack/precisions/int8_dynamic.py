"""INT8 weights, activations quantized row by row while the model runs; ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Group, Rewriting
from tritonpack.precisions._groups import check_kept, groups_of
from tritonpack.precisions._quantize import quantized_facts, quietly, with_products_alone

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Int8Dynamic:
    """Per-channel symmetric weights of every MatMul; nothing to calibrate."""

    version = 3
    packages = ("onnx", "onnxruntime")
    data = Data.UNUSED
    searchable = True
    engines = frozenset({"onnxruntime"})
    tolerance = Tolerance(min_cosine=0.95, mean_cosine=0.98)

    def groups(self, onnx: Path) -> list[Group]:
        """Products with weights that read one value."""
        return list(groups_of(with_products_alone(onnx).graph).values())

    def studied(self, onnx: Path, how: Rewriting) -> Rewriting:
        """Nothing is decided ahead."""
        del onnx
        return how

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Replace each MatMul with a constant operand by its dynamically quantized form.

        Raises:
            LoweringError: nothing is left to quantize, or a group to keep doesn't exist.
        """
        from onnxruntime.quantization import QuantType, quantize_dynamic

        model = with_products_alone(onnx)
        groups = groups_of(model.graph).values()
        check_kept(groups, how.keep, "int8_dynamic")
        kept = [group for group in groups if group.name in how.keep]
        with quietly():
            quantize_dynamic(
                model,
                out,
                op_types_to_quantize=["MatMul", "Gather"],
                nodes_to_exclude=[name for group in kept for name in group.nodes],
                per_channel=True,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        return {**quantized_facts(out), "kept": [group.name for group in kept]}


PRECISION = Int8Dynamic()
