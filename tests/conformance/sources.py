"""What plain modules and word vectors need on disk: a word-level vocabulary, and vectors as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.texts import WORDS

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.cells import Cell

DIMENSION = 24
_NOT_IN_VECTORS = ("hill", "seven", "lovelace")
"""So that texts hold words without a vector."""


def write_word_tokenizer(folder: Path) -> int:
    """Write a tokenizer that knows whole words, and return how many entries it has."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    entries = ["[PAD]", "[UNK]", *dict.fromkeys((*WORDS, ",", ".", "!", "?"))]
    tokenizer = Tokenizer(models.WordLevel({entry: i for i, entry in enumerate(entries)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(entries)


def write_word_vectors(cell: Cell, folder: Path) -> tuple[dict[str, Any], Any]:
    """Write vectors in the cell's format; the recipe's source, and who knows the right answers.

    word2vec and fastText begin with a line of counts, GloVe doesn't; fastText ends its lines with a space.
    """
    import numpy as np

    from conformance.references import WordVectorReference

    words = [word for word in dict.fromkeys((*WORDS, ",", "\u5317\u4eac", "caf\u00e9")) if word not in _NOT_IN_VECTORS]
    vectors = np.random.default_rng(17).normal(size=(len(words), DIMENSION)).astype(np.float32)
    end = " " if cell.model == "fasttext" else ""
    lines = [f"{word} {' '.join(f'{x:.6f}' for x in row)}{end}" for word, row in zip(words, vectors, strict=True)]
    if cell.model != "glove":
        lines.insert(0, f"{len(words)} {DIMENSION}")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vectors.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    known = {
        line.split(" ")[0]: np.array(line.split(" ")[1 : DIMENSION + 1], np.float32) for line in lines[-len(words) :]
    }
    return {"kind": "word_vectors", "file": str(file)}, WordVectorReference(cell, known)
