"""T5 and mT5, their encoder alone."""

from __future__ import annotations

from tritonpack.families import Family, any_length

FAMILY = Family(
    model_types=("t5", "mt5"),
    positions=any_length,
    auto_classes={"AutoModel": "AutoModelForTextEncoding"},
    # `transformers` keeps the products; its layer norms square what they get in FP32, which the graph no longer shows.
    fp32_modules=("wo", "layer_norm", "final_layer_norm"),
)
