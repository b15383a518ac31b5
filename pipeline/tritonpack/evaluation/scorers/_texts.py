"""Public outputs as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def texts_of(values: Iterable[Any]) -> list[str]:
    """``bytes`` or ``str``, one a value; what isn't UTF-8 keeps its place as U+FFFD."""
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
