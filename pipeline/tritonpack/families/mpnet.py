"""MPNet: positions numbered after the padding id, and relative ones besides."""

from __future__ import annotations

from tritonpack.families import Family, positions_after_padding

FAMILY = Family(model_types=("mpnet",), positions=positions_after_padding)
