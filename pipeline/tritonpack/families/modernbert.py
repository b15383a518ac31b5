"""ModernBERT: rotary positions, and attention to the neighbourhood alone in most layers."""

from __future__ import annotations

from typing import Any

from tritonpack.families import Family


def _with_defined_padding(model: Any) -> Any:
    """Attention spelt out, so that padding far from a row's tokens has a value that all engines share.

    Such a position has no token in its neighbourhood. PyTorch's fused attention answers zeros there,
    its ONNX form the mean of the neighbourhood: no task reads either, but the two could not be compared.
    """
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        model.set_attn_implementation("eager")
    return model


FAMILY = Family(model_types=("modernbert",), adapt=_with_defined_padding)
