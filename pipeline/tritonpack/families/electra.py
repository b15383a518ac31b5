"""ELECTRA: a BERT that learnt to tell replaced tokens from real ones."""

from __future__ import annotations

from tritonpack.families import Family, token_types_of_config

FAMILY = Family(model_types=("electra",), has_token_types=token_types_of_config)
