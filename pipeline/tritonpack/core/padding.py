"""Rows that are padded at their end."""

from __future__ import annotations

from typing import Any


def last_token(values: Any, attention_mask: Any) -> Any:
    """What stands at each row's last token, by its mask.

    Args:
        values: ``(batch, seq, d)``, a torch tensor.
        attention_mask: ``(batch, seq) int64``, 1 at each row's tokens, which come first, 0 after them.

    Returns:
        ``(batch, d)``; of a row without tokens what stands first.
    """
    last = (attention_mask.sum(dim=1) - 1).clamp(min=0)
    return values.gather(1, last[:, None, None].expand(-1, 1, values.shape[-1])).squeeze(1)
