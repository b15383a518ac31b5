"""Rows out of JSONL, CSV and Parquet files, as dictionaries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError
from tritonpack.core.registry import did_you_mean
from tritonpack.core.resources import path_from_location

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

Record = dict[str, Any]


def data_file(location: str, folder: Path) -> Path:
    """The file that a recipe names.

    Raises:
        SourceError: it isn't there, or its ending isn't known.
    """
    path = path_from_location(location, folder)
    if not path.is_file():
        raise SourceError(
            f"data set {path} isn't there",
            hint="Correct the data set's file: a path beside the recipe, or package:NAME/PATH.",
            field="file",
        )
    if path.suffix not in _READERS:
        raise SourceError(
            f"data set {path}: files that end with {path.suffix or 'nothing'} aren't known",
            hint=f"There are: {', '.join(_READERS)}.",
            field="file",
        )
    return path


def records_from_file(path: Path, *, texts: Collection[str] = ()) -> list[Record]:
    """The file's rows, in order.

    Args:
        path: a file whose ending is known.
        texts: columns that stay texts in CSV, which doesn't say what is a number.

    Raises:
        SourceError: it doesn't read, or is empty.
    """
    records = _READERS[path.suffix](path, texts)
    if not records:
        raise SourceError(f"data set {path} is empty", hint="It takes at least one row.")
    return records


def column_of(records: Sequence[Record], name: str, path: Path, *, hint: str = "") -> list[Any]:
    """One value a row.

    Args:
        records: the rows.
        name: the column.
        path: the file, for errors.
        hint: what to do if there is no such column.

    Raises:
        SourceError: the column isn't there, or lacks a value.
    """
    values = [record.get(name) for record in records]
    there = list(dict.fromkeys(key for record in records for key in record))
    if name not in there:
        raise SourceError(
            f"data set {path} has no column '{name}'; there are: {', '.join(there)}",
            hint=" ".join(filter(None, (did_you_mean(name, there), hint))),
            column=name,
        )
    if (place := next((at for at, value in enumerate(values) if value is None), None)) is not None:
        raise SourceError(
            f"data set {path}, row {place + 1}: '{name}' is missing", hint="Give it a value, or leave out the row."
        )
    return values


def _jsonl(path: Path, texts: Collection[str]) -> list[Record]:
    del texts
    try:
        # Not splitlines(): a text in JSON may hold characters that it takes for ends of lines.
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"data set {path} isn't UTF-8: {error}", hint="Save it in UTF-8.") from error
    return [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _record(line: str, place: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise SourceError(
            f"data set {place} isn't JSON: {error}", hint="JSONL holds one JSON object a line."
        ) from error
    if not isinstance(record, dict):
        raise SourceError(
            f"data set {place} is a JSON {type(record).__name__}, not an object",
            hint='Each line is an object, e.g. {"text": "...", "label": "..."}.',
        )
    return record


def _csv(path: Path, texts: Collection[str]) -> list[Record]:
    import pyarrow as pa
    from pyarrow import csv

    return _table(
        path,
        lambda: csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            # Words such as "true" stay words: they may be labels.
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(texts, pa.string()), true_values=[], false_values=[]
            ),
        ),
    )


def _parquet(path: Path, texts: Collection[str]) -> list[Record]:
    del texts
    from pyarrow import parquet

    return _table(path, lambda: parquet.read_table(path))


def _table(path: Path, read: Callable[[], Any]) -> list[Record]:
    import pyarrow as pa

    try:
        records: list[Record] = read().to_pylist()
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return []
        raise SourceError(f"data set {path} doesn't read: {error}", hint="Correct the file.") from error
    return records


_READERS: dict[str, Callable[[Path, Collection[str]], list[Record]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
