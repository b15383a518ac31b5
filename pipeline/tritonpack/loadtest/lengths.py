"""Texts of other lengths than those at hand: their words, cut anew."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = {
    "lognormal": "lognormal:16,0.75",
    "uniform": "uniform:4,64",
    "fixed": "fixed:128",
    "file": "file:lengths.txt",
}
"""Every kind of distribution, and one of it."""
_SEED = 20
_COUNT = 512
_LONGEST = 100_000


@dataclass(frozen=True)
class Lengths:
    """How many words texts have.

    Attributes:
        text: as it was given, for the report.
        words: one length for each text.
    """

    text: str
    words: tuple[int, ...]


def parse_lengths(text: str) -> Lengths:
    """Read what ``--lengths`` takes.

    ``lognormal:MEDIAN,SIGMA``, ``uniform:LEAST,MOST`` and ``fixed:WORDS`` give 512 lengths, always the same;
    ``file:FILE`` has one length a line.

    Raises:
        ConfigurationError: the text is none of these; the message says what would be right.
        SourceError: the file can't be read.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in EXAMPLES:
        raise ConfigurationError(
            f"--lengths {text!r} is no distribution; there are {', '.join(EXAMPLES)}",
            hint="Examples: " + ", ".join(EXAMPLES.values()),
            field="lengths",
        )
    if kind == "file":
        return Lengths(text, _lengths_from_file(Path(rest)))
    numbers = _numbers(rest, kind, 1 if kind == "fixed" else 2)
    rng = np.random.default_rng(_SEED)
    if kind == "fixed":
        words = np.full(_COUNT, numbers[0])
    elif kind == "uniform":
        if numbers[0] > numbers[1]:
            raise _refusal(kind, rest, f"has {numbers[0]:g} as the least, which is above {numbers[1]:g}")
        words = rng.integers(int(numbers[0]), int(numbers[1]) + 1, _COUNT).astype(np.float64)
    else:
        words = rng.lognormal(np.log(numbers[0]), numbers[1], _COUNT)
    return Lengths(text, tuple(int(count) for count in np.clip(np.round(words), 1, _LONGEST)))


def texts_of_lengths(texts: Sequence[str], lengths: Lengths) -> list[str]:
    """Cut texts of these lengths from the words of others, taken in an order without a pattern, again and again."""
    order = [text.replace("\t", " ").split() for text in texts]
    random.Random(_SEED).shuffle(order)  # noqa: S311 (no secret, always the same order)
    words = cycle([word for part in order for word in part])
    return [" ".join(islice(words, count)) for count in lengths.words]


def _lengths_from_file(path: Path) -> tuple[int, ...]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise SourceError(f"--lengths: {path}: {reason}", hint="the file has one number of words a line") from error
    if wrong := [line for line in lines if not line.isdecimal() or not 0 < int(line) <= _LONGEST]:
        raise _refusal("file", wrong[0], f"in {path} is no number of words from 1 to {_LONGEST:,}")
    if not lines:
        raise SourceError(f"--lengths: {path} holds no length", hint="the file has one number of words a line")
    return tuple(map(int, lines))


def _numbers(text: str, kind: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(0 < number <= _LONGEST for number in numbers):
        raise _refusal(kind, text, "is no number" if count == 1 else "aren't two numbers above 0")
    return numbers


def _refusal(kind: str, value: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"--lengths {kind}: {value!r} {why}", hint=f"Example: --lengths {EXAMPLES[kind]}", field="lengths", value=value
    )
