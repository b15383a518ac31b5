"""Where two graphs first part: value by value (`compare`), and the smallest part that still fails (`reduce`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how many values are done, and of how many."""
