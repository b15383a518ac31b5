"""A WordPiece of BERT's shape, and the served stage around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tiny_bert import vocabulary, write_tokenizer

from tritonpack.repository.python_models.text import Stage

if TYPE_CHECKING:
    from pathlib import Path

CLS, SEP, UNK = 2, 3, 1
LENGTH = 16
ID = {token: index for index, token in enumerate(vocabulary())}


def write_pair_tokenizer(folder: Path) -> Path:
    """Write ``tokenizer.json``; its own padding and truncation to 16 have no say."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_file(str(write_tokenizer(folder)))
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def stage(folder, texts="text", outputs="input_ids,attention_mask", **parameters):
    given = {"texts": texts, "outputs": outputs, "max_length": str(LENGTH)}
    return Stage(folder, {**given, **{name: str(value) for name, value in parameters.items()}})


def request(**texts):
    return {
        name: np.array([[t if isinstance(t, bytes) else t.encode()] for t in rows], np.object_)
        for name, rows in texts.items()
    }


def ids(*words):
    return [ID[word] for word in words]


def words(count):
    return " ".join(["cat", "sat", "mat", "dog", "ran"][i % 5] for i in range(count))
