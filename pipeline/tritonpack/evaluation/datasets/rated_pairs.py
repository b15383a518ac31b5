"""Rated pairs in a file with the columns ``left``, ``right`` and ``rating``: JSONL, CSV or Parquet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.digest import digest_of_file, digest_of_json
from tritonpack.core.errors import SourceError
from tritonpack.evaluation.datasets import DatasetOptions
from tritonpack.evaluation.datasets._examples import examples_from_pairs, finished
from tritonpack.evaluation.datasets._files import column_of, data_file, records_from_file

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.evaluation import Examples

_SIDES = ("left", "right")
_RATING = "rating"
_HINT = "A rated pair has the columns left, right (texts) and rating (a number, greater is more alike)."


class RatedPairsOptions(DatasetOptions):
    """A file of rated pairs."""

    kind: Literal["rated_pairs"]
    file: str = Field(
        description="A file that ends with .jsonl, .csv or .parquet: a path beside the recipe, or package:NAME/PATH."
    )


class RatedPairsFile:
    """Reads the file."""

    options = RatedPairsOptions

    def digest(self, options: RatedPairsOptions, folder: Path) -> str:
        """Of the file."""
        path = data_file(options.file, folder)
        return digest_of_json({"file": digest_of_file(path), "ending": path.suffix, "rows": options.rows})

    def read(self, options: RatedPairsOptions, folder: Path, inputs: tuple[str, ...]) -> Examples:
        """Every pair, each text once; columns beside the three are for slices."""
        path = data_file(options.file, folder)
        records = records_from_file(path, texts=_SIDES)
        left, right, ratings = (column_of(records, name, path, hint=_HINT) for name in (*_SIDES, _RATING))
        for row, pair in enumerate(zip(left, right, ratings, strict=True), start=1):
            _check(*pair, place=f"data set {path}, row {row}")
        others = dict.fromkeys(name for record in records for name in record if name not in {*_SIDES, _RATING})
        columns = {name: [record.get(name) for record in records] for name in others}
        examples = examples_from_pairs(
            (left, right), [float(r) for r in ratings], inputs, name=str(path), columns=columns
        )
        return finished(examples, options.rows, str(path))


DATASET = RatedPairsFile()


def _check(left: Any, right: Any, rating: Any, *, place: str) -> None:
    for side, text in zip(_SIDES, (left, right), strict=True):
        if not isinstance(text, str):
            raise SourceError(f"{place}: {side} is {text!r}, not a text", hint=_HINT)
    if isinstance(rating, bool) or not isinstance(rating, (int, float)) or not math.isfinite(rating):
        raise SourceError(f"{place}: rating is {rating!r}, not a number", hint=_HINT)
