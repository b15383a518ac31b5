"""ALBERT: a BERT whose layers share their weights."""

from __future__ import annotations

from tritonpack.families import Family, token_types_of_config

FAMILY = Family(model_types=("albert",), has_token_types=token_types_of_config)
