"""Curves of one served ensemble: over the length of a text, the rows of a request, and requests in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import numpy as np

from growing.load import closed_loop, text_request
from growing.repositories import config_of, ensemble_of, version_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from growing.curves import Figures

MANY = 32
_PROBED = 4000
_DIFFERENT = 64
_MIXED = 512


@dataclass(frozen=True)
class Ensemble:
    """A served ensemble and texts whose length in its tokens is known.

    Attributes:
        url: of the server's gRPC endpoint.
        name: the ensemble's.
        words: each one token long.
        around: tokens that its tokenizer puts around a text.
        longest: tokens that it takes at most, those around included.
        most_rows: that a request may hold.
    """

    url: str
    name: str
    words: tuple[str, ...]
    around: int
    longest: int
    most_rows: int

    def texts(self, tokens: int, count: int, seed: int = 0) -> list[str]:
        """Draw texts of so many tokens."""
        rng = np.random.default_rng([seed, tokens])
        return [" ".join(rng.choice(self.words, max(1, tokens - self.around))) for _ in range(count)]

    def mixed_texts(self, count: int, seed: int = 0) -> list[str]:
        """Draw texts of log-normal length, 16 tokens in the median, cut to what the model takes."""
        rng = np.random.default_rng(seed)
        lengths = np.clip(np.round(rng.lognormal(np.log(14), 0.75, count)) + self.around, 3, self.longest)
        return [self.texts(int(tokens), 1, seed=place)[0] for place, tokens in enumerate(lengths)]

    def requests(self, texts: Sequence[str], rows: int = 1) -> list[bytes]:
        """Requests of so many rows, the texts taken in turn."""
        parts = (texts[begin : begin + rows] for begin in range(0, len(texts), rows))
        return [text_request(self.name, part) for part in parts]


def served_ensemble(url: str, repository: Path, model: str) -> Ensemble:
    """Find out what texts of a known length are made of.

    Raises:
        click.UsageError: no step of the ensemble is a tokenizer, or its vocabulary holds too few whole words.
    """
    from tokenizers import Tokenizer

    folders = [repository / step.model_name for step in ensemble_of(repository, model)]
    found = [(folder, file) for folder in folders if (file := version_folder(folder) / "tokenizer.json").is_file()]
    if not found:
        raise click.UsageError(f"no step of '{model}' is a tokenizer: --model names an ensemble that takes a text")
    folder, file = found[0]
    longest = int(config_of(folder).parameters["max_length"].string_value)
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    words = _words_of_one_token(tokenizer)
    if not words:
        raise click.UsageError(f"the tokenizer of '{model}' knows no whole word, so texts of a length can't be made")
    around = tokenizer.num_special_tokens_to_add(is_pair=False)
    return Ensemble(url, model, words, around, longest, config_of(repository / model).max_batch_size)


def _words_of_one_token(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Words of the vocabulary that stay one token in a text."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalnum())[:_PROBED]
    # Twice in a row, since some tokenizers write the first word of a text otherwise.
    lengths = (len(one.ids) for one in tokenizer.encode_batch([f"{w} {w}" for w in words], add_special_tokens=False))
    return tuple(word for word, length in zip(words, lengths, strict=True) if length == 2)  # noqa: PLR2004  the two words


def at_length(ensemble: Ensemble, tokens: int, seconds: float) -> Figures:
    """One text a request, all of one length: alone, and with many in flight."""
    requests = ensemble.requests(ensemble.texts(tokens, _DIFFERENT))
    alone = closed_loop(ensemble.url, requests, 1, seconds / 2)
    many = closed_loop(ensemble.url, requests, MANY, seconds)
    return {
        "p50 alone, ms": alone.p50_ms,
        f"texts/s, {MANY} in flight": many.throughput,
        f"tokens/s, {MANY} in flight": many.throughput * tokens,
    }


def at_rows(ensemble: Ensemble, rows: int, seconds: float) -> Figures:
    """Requests of several texts of mixed length, one request in flight."""
    load = closed_loop(ensemble.url, ensemble.requests(ensemble.mixed_texts(_MIXED), rows), 1, seconds)
    return {"texts/s": load.throughput * rows, "p50, ms": load.p50_ms, "p50 by the texts, ms": load.p50_ms / rows}


def at_concurrency(ensemble: Ensemble, concurrency: int, seconds: float) -> Figures:
    """One text of mixed length a request, so many in flight."""
    load = closed_loop(ensemble.url, ensemble.requests(ensemble.mixed_texts(_MIXED)), concurrency, seconds)
    return {"texts/s": load.throughput, "p50, ms": load.p50_ms, "p99, ms": load.p99_ms}
