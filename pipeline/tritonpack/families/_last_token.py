"""The last token of a row that isn't padding."""

from __future__ import annotations

from typing import Any


def last_token(hidden: Any, attention_mask: Any) -> Any:
    """Each row's vector at its last real token.

    Args:
        hidden: ``(batch, sequence, d)``.
        attention_mask: ``(batch, sequence)`` int64; every row's tokens come first.

    Returns:
        ``(batch, d)``.
    """
    last = (attention_mask.sum(dim=1) - 1).clamp(min=0)
    return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)
