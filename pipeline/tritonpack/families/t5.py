"""T5, its encoder alone."""

from __future__ import annotations

from tritonpack.families import Family, any_length

FAMILY = Family(model_types=("t5",), positions=any_length, auto_classes={"AutoModel": "AutoModelForTextEncoding"}, fp32_modules=("wo",))
