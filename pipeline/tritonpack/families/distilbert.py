"""DistilBERT: half the layers of a BERT, and no token types."""

from __future__ import annotations

from tritonpack.families import Family

FAMILY = Family(model_types=("distilbert",))
