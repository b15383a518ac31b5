"""BERT."""

from __future__ import annotations

from tritonpack.families import Family, token_types_of_config

FAMILY = Family(model_types=("bert",), has_token_types=token_types_of_config)
