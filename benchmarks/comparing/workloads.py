"""What is asked: texts of four kinds, the same in every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.loadtest.lengths import Lengths, parse_lengths, texts_of_lengths
from tritonpack.loadtest.texts import DEFAULT_TEXTS, texts_from_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

PARAGRAPH_TOKENS = 128
_COUNT = 512
_REQUESTS = 4096
_SEED = 20


@dataclass(frozen=True)
class Workload:
    """Texts to ask for, one a request, in this order and again.

    Attributes:
        about: what they are, for the documents.
        repeated: a response cache may help; else it isn't asked.
    """

    name: str
    about: str
    texts: tuple[str, ...]
    repeated: bool = False


@dataclass(frozen=True)
class TokenCount:
    """How many tokens texts have, with the tokenizer's own at both ends."""

    mean: float
    median: float
    most: int


def make_workloads(tokenizer: Tokenizer) -> dict[str, Workload]:
    """Draw the texts.

    Args:
        tokenizer: the model's, which doesn't pad.
    """
    words = texts_from_file(DEFAULT_TEXTS)
    short = texts_of_lengths(words, parse_lengths("lognormal:5,0.4"))
    mixed = texts_of_lengths(words, parse_lengths("lognormal:14,0.75"))
    long = texts_of_lengths(words, Lengths("paragraphs", (PARAGRAPH_TOKENS,) * _COUNT))
    rng = np.random.default_rng(_SEED)
    ranks = rng.zipf(1.3, _REQUESTS) - 1
    asked = [short[rank % _COUNT] for rank in ranks]
    found = (
        Workload("short", "queries of a few words", tuple(short)),
        Workload("paragraphs", f"{PARAGRAPH_TOKENS} tokens each", tuple(cut(tokenizer, text) for text in long)),
        Workload("mixed", "log-normal lengths, as people's texts have", tuple(mixed)),
        Workload("repeated", "the short queries, some asked far more often than others (Zipf)", tuple(asked), True),
    )
    return {workload.name: workload for workload in found}


def cut(tokenizer: Tokenizer, text: str) -> str:
    """Cut a text to a paragraph's tokens, those at both ends included."""
    encoding = tokenizer.encode(text)
    end: int = encoding.offsets[PARAGRAPH_TOKENS - 2][1]
    return text[:end]


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str]) -> TokenCount:
    """Count."""
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts))]
    return TokenCount(float(np.mean(counts)), float(np.median(counts)), max(counts))
