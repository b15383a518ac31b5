"""The texts that a load test sends, and the file that perf_analyzer reads them from."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_TEXTS = Path(__file__).with_name("texts.txt")
_SEED = 20


@dataclass(frozen=True)
class TextSummary:
    """What the texts are like, for the report.

    Attributes:
        source: the file's name.
        count: number of texts.
        words_mean: words (separated by blanks) in a text.
        words_max: in the longest.
        lengths: the distribution that they were cut to, empty if they are as in the file.
    """

    source: str
    count: int
    words_mean: float
    words_max: int
    lengths: str = ""


def texts_from_file(path: Path) -> list[str]:
    """Read one text a line; empty lines are left out.

    Raises:
        SourceError: the file can't be read, isn't UTF-8 or holds no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}", hint="--texts takes a file with one text a line") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} isn't UTF-8: byte {error.start}", hint="convert it with iconv") from error
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise SourceError(f"{path} holds no text", hint="--texts takes a file with one text a line")
    return texts


def summary_from_texts(texts: Sequence[str], source: str, lengths: str = "") -> TextSummary:
    """Say what the texts are like."""
    words = [len(text.split()) for text in texts]
    return TextSummary(source, len(texts), round(sum(words) / len(words), 1), max(words), lengths)


def rows_of_texts(texts: Sequence[str], names: tuple[str, ...]) -> list[dict[str, str]]:
    """One row of texts a request, by the input's name.

    Several texts of a row are separated by tabulators. Lines without any are paired with those that
    follow them, so that the texts at hand load a model of pairs too.
    """
    count = len(names)
    columns = [[text] if count == 1 else text.split("\t") for text in texts]
    if any(len(row) != count for row in columns):
        columns = [[texts[(index + step) % len(texts)] for step in range(count)] for index in range(len(texts))]
    return [dict(zip(names, row, strict=True)) for row in columns]


def input_data(rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Make the document that ``--input-data`` takes: one row a request, in an order without a pattern.

    The order is shuffled, always in the same way: texts that stand sorted by length in their file would
    reach the server in batches of equal length, which real traffic never does.

    Source: https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/input_data.md
    """
    order = list(rows)
    random.Random(_SEED).shuffle(order)  # noqa: S311 (no secret, always the same order)
    return {"data": [{name: {"content": [text], "shape": [1]} for name, text in row.items()} for row in order]}


def write_input_data(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write ``input_data`` to a file."""
    path.write_text(json.dumps(input_data(rows), ensure_ascii=False), encoding="utf-8")
