"""DeBERTa-v2 and DeBERTa-v3, which is the same model; most checkpoints have no token types."""

from __future__ import annotations

from tritonpack.families import Family, token_types_of_config

FAMILY = Family(model_types=("deberta-v2",), has_token_types=token_types_of_config)
