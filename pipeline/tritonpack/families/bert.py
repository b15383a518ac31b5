"""BERT."""

from __future__ import annotations

from tritonpack.families import Family

FAMILY = Family(model_types=("bert",), token_types=True)
