"""Rated pairs in a JSONL file: one object ``{"left": ..., "right": ..., "rating": ...}`` a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import SourceError
from tritonpack.core.resources import path_from_location
from tritonpack.evaluation import DatasetOptions, RatedPairs

if TYPE_CHECKING:
    from pathlib import Path

_LEAST = 10


class RatedPairsOptions(DatasetOptions):
    """A file of rated pairs."""

    kind: Literal["rated_pairs"]
    file: str = Field(description="A JSONL file: a path beside the recipe, or package:NAME/PATH.")


class RatedPairsFile:
    """Reads the file."""

    options = RatedPairsOptions

    def digest(self, options: RatedPairsOptions, folder: Path) -> str:
        """Of the file."""
        return digest_of_file(_file(options, folder))

    def read(self, options: RatedPairsOptions, folder: Path) -> RatedPairs:
        """Every pair, each text once."""
        path = _file(options, folder)
        places: dict[str, int] = {}
        pairs, ratings = [], []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            left, right, rating = _pair(line, f"{path}, line {number}")
            pairs.append([places.setdefault(text, len(places)) for text in (left, right)])
            ratings.append(rating)
        if len(pairs) < _LEAST:
            raise SourceError(f"{path} holds {len(pairs)} pairs; a correlation needs at least {_LEAST}")
        return RatedPairs(list(places), np.array(pairs, dtype=np.int64), np.array(ratings))


DATASET = RatedPairsFile()


def _file(options: RatedPairsOptions, folder: Path) -> Path:
    path = path_from_location(options.file, folder)
    if not path.is_file():
        raise SourceError(f"data set {path} isn't there", hint="Correct gates.accuracy.dataset.file.")
    return path


def _pair(line: str, place: str) -> tuple[str, str, float]:
    try:
        item: dict[str, Any] = json.loads(line)
        return str(item["left"]), str(item["right"]), float(item["rating"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{place}: not a rated pair ({error!r})",
            hint='Each line is {"left": TEXT, "right": TEXT, "rating": NUMBER}.',
        ) from error
