"""The encoder of traceforge's titles: a descendant of flan-t5-small, 8 layers of 512; out of its INT8 ONNX file.

Weights: MIT, in the package traceforge-title-model.
"""

from __future__ import annotations

from typing import Any

from factories.initializers import weights_from_onnx
from factories.loading import file_of, loaded

_FILE = "package:traceforge_title_model/data/span/encoder.onnx"


def encoder(sha256: str) -> Any:
    """T5's encoder, in FP32."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=32128,
        d_model=512,
        d_kv=64,
        d_ff=1024,
        num_layers=8,
        num_heads=6,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.0,
    )
    weights = {
        f"encoder.{name.removeprefix('enc.')}": value
        for name, value in weights_from_onnx(file_of(_FILE), sha256).items()
    }
    weights["shared.weight"] = weights["encoder.embed_tokens.weight"]
    return loaded(T5EncoderModel(config), weights)
