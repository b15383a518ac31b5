"""What a cell is asked: rows of public inputs, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.texts import CONTEXTS, MASKED, PAIRS, QUESTIONS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.cells import Cell

Row = dict[str, Any]
"""A text, or an array of samples, by public input."""

_NO_TOKEN_FOR_NOTHING = ("gpt2",)
"""`transformers` itself fails on a row of no tokens; of word vectors it is the mean of nothing, zeros."""


def _texts(cell: Cell, mask: str) -> list[Row]:
    del mask
    nothing = [""] if cell.source != "python_module" and cell.family not in _NO_TOKEN_FOR_NOTHING else []
    return [{"text": text} for text in (*TEXTS, *nothing)]


def _pairs(cell: Cell, mask: str) -> list[Row]:
    del cell, mask
    return [{"text": one, "text_pair": other} for one, other in PAIRS]


def _questions(cell: Cell, mask: str) -> list[Row]:
    del cell, mask
    return [{"question": question, "context": context} for question in QUESTIONS for context in CONTEXTS]


def _masked(cell: Cell, mask: str) -> list[Row]:
    del cell
    return [{"text": text.format(mask=mask)} for text in MASKED]


def _sounds(cell: Cell, mask: str) -> list[Row]:
    del cell, mask
    rng = np.random.default_rng(7)
    lengths = (16, 17, 100, 400, 399, 401, 800, 1599)
    return [{"waveform": rng.normal(0.1, 1.0, size=length).astype(np.float32)} for length in lengths]


_ASKED: dict[str, Callable[[Cell, str], list[Row]]] = {
    "texts": _texts, "pairs": _pairs, "questions": _questions, "masked": _masked, "sounds": _sounds,
}  # fmt: skip


def rows_for(cell: Cell, mask: str = "") -> list[Row]:
    """The rows that a cell is asked, of many lengths.

    Args:
        cell: the cell.
        mask: the model's mask token, for cells that fill masks.
    """
    return _ASKED[cell.asks](cell, mask)
