"""Rows with their right answers in a file: JSONL, CSV or Parquet.

A label is what the recipe's task answers: the name or number of a class, or a number; for token classification a
list of entities, each ``{"start": ..., "end": ..., "label": ...}`` or ``[start, end, label]``; for question answering
a text or a list of acceptable texts; for masked words and next tokens a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.digest import digest_of_file, digest_of_json
from tritonpack.core.errors import SourceError
from tritonpack.core.registry import did_you_mean
from tritonpack.evaluation import Examples
from tritonpack.evaluation.datasets import DatasetOptions
from tritonpack.evaluation.datasets._examples import finished, named, rows_of
from tritonpack.evaluation.datasets._files import column_of, data_file, records_from_file

if TYPE_CHECKING:
    from pathlib import Path


class LabelledOptions(DatasetOptions):
    """A file of rows, and which of its columns are what."""

    kind: Literal["labelled"]
    file: str = Field(
        description="A file that ends with .jsonl, .csv or .parquet: a path beside the recipe, or package:NAME/PATH."
    )
    columns: dict[str, str] = Field(
        default={}, description="Public input -> the file's column; an input that isn't named has a column of its name."
    )
    label: str | None = Field("label", description="The column of right answers; null: nobody labelled the rows.")
    names: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the classes in the order of their numbers, where labels are numbers."
    )


class Labelled:
    """Reads the file."""

    options = LabelledOptions

    def digest(self, options: LabelledOptions, folder: Path) -> str:
        """Of the file, and of what its columns are."""
        path = data_file(options.file, folder)
        said = options.model_dump(mode="json", exclude={"file"})
        return digest_of_json({"file": digest_of_file(path), "ending": path.suffix, "options": said})

    def read(self, options: LabelledOptions, folder: Path, inputs: tuple[str, ...]) -> Examples:
        """Every row; columns that are neither inputs nor label are for slices."""
        path = data_file(options.file, folder)
        columns = _columns(options, inputs)
        records = records_from_file(path, texts=list(columns.values()))
        hint = "Say which column it is: columns: {INPUT: COLUMN}."
        rows = rows_of({name: column_of(records, column, path, hint=hint) for name, column in columns.items()})
        expected = None
        if options.label is not None:
            hint = "Say label: COLUMN, or label: null if nobody labelled the rows."
            expected = named(column_of(records, options.label, path, hint=hint), options.names, str(path))
        known = {*columns.values(), options.label}
        others = dict.fromkeys(name for record in records for name in record if name not in known)
        slices = {name: [record.get(name) for record in records] for name in others}
        return finished(Examples(rows, expected, None, slices), options.rows, str(path))


DATASET = Labelled()


def _columns(options: LabelledOptions, inputs: tuple[str, ...]) -> dict[str, Any]:
    for name in options.columns:
        if name not in inputs:
            raise SourceError(
                f"columns: the recipe's rows have no input '{name}'; they have: {', '.join(inputs)}",
                hint=did_you_mean(name, list(inputs)) or "Columns are named as {INPUT: COLUMN}.",
                field="columns",
            )
    return {name: options.columns.get(name, name) for name in inputs}
