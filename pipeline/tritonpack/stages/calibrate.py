"""Calibration data: real texts, tokenized by the model's own tokenizer, spread over their lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.stages.reference import Case, read_reference, write_reference

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors

VERSION = 1
_BATCH = 8


def calibration_from_texts(
    texts: Path, tokenizer_file: Path, *, samples: int, length: int, pad_id: int, out: Path
) -> Facts:
    """Tokenize ``samples`` texts, chosen evenly over the file's lengths, in batches of like length.

    Args:
        texts: one text a line.
        tokenizer_file: the prepared ``tokenizer.json``.
        samples: how many texts; a shorter file is used whole.
        length: longest row in tokens.
        pad_id: the id to pad with.
        out: the file to write.

    Raises:
        SourceError: the file holds fewer than eight texts.
    """
    from tokenizers import Tokenizer

    lines = [line.strip() for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) < _BATCH:
        raise SourceError(f"calibration file {texts} holds {len(lines)} texts; it takes at least {_BATCH}")
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_truncation(length)
    rows = sorted((encoding.ids for encoding in tokenizer.encode_batch(lines)), key=len)
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(samples, len(rows))).round().astype(int)]
    batches = [chosen[begin : begin + _BATCH] for begin in range(0, len(chosen), _BATCH)]
    write_reference([Case(padded(batch, pad_id), {}) for batch in batches], out)
    return {"texts": len(chosen), "tokens": sum(map(len, chosen)), "longest": len(chosen[-1])}


def read_calibration(path: Path) -> list[Tensors]:
    """The batches, inputs by name."""
    return [case.inputs for case in read_reference(path)]


def padded(rows: list[list[int]], pad_id: int) -> Tensors:
    """Rows of ids as ``input_ids, attention_mask: (rows, longest) int64``."""
    width = max(map(len, rows))
    lengths = np.array([[len(row)] for row in rows])
    ids = np.array([row + [pad_id] * (width - len(row)) for row in rows], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": (np.arange(width) < lengths).astype(np.int64)}
