"""RoBERTa and what took its code: one type of token, positions numbered after the padding id."""

from __future__ import annotations

from tritonpack.families import Family, positions_after_padding

FAMILY = Family(
    model_types=("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert"), positions=positions_after_padding
)
