"""The recipe's real rows: those to calibrate on, those to learn from, and those with labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import RecipeError
from tritonpack.core.resources import path_from_location
from tritonpack.evaluation.datasets import DATASETS
from tritonpack.evaluation.datasets.labelled import LabelledOptions
from tritonpack.evaluation.requests import check_leakage, requests_from_examples
from tritonpack.inputs import INPUTS, Input
from tritonpack.stages.calibrate import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples
    from tritonpack.evaluation.datasets import DatasetOptions
    from tritonpack.recipe import CalibrationSpec, Recipe


class Rows:
    """Finds and reads a recipe's data.

    Args:
        recipe: names it.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._input: Input = INPUTS.get(recipe.given.kind)
        self._examples: Examples | None = None

    def of(self, part: Part) -> tuple[str, int, Callable[[], list[Tensors]]]:
        """Digest of the data, how many rows of it are wanted, and what reads them as requests.

        Raises:
            RecipeError: the recipe names none, or what it names isn't there.
        """
        field = "training" if part is Part.TRAINING else "calibration"
        spec: CalibrationSpec | None = getattr(self.recipe, field)
        if spec is None:
            raise RecipeError(
                f"{field}: missing, but `compress` learns from unlabelled rows",
                hint=f"Add {field}: {{file: FILE}} or {field}: {{dataset: ...}} to the recipe.",
                field=field,
            )

        return self._digest(spec, field), spec.samples, lambda: self._requests(spec, field)

    @property
    def seen(self) -> dict[str, str]:
        """By field of the recipe, the digest of the rows that a build fits something to."""
        specs = {"calibration": self.recipe.calibration, "training": self.recipe.training}
        return {field: self._digest(spec, field) for field, spec in specs.items() if spec is not None}

    def check_leakage(self) -> None:
        """Hold what a build fits something to against the accuracy gate's rows.

        Raises:
            SourceError: they are the same.
        """
        for field in self.seen:
            check_leakage(self._requests(getattr(self.recipe, field), field), self.examples())

    def examples(self) -> Examples:
        """The accuracy gate's data.

        Raises:
            RecipeError: the recipe has no such gate.
            SourceError: the data isn't there, or isn't of the recipe's input.
        """
        spec = self.recipe.gates.accuracy
        if spec is None:
            raise RecipeError(
                "gates.accuracy: missing, so there is no labelled data to evaluate on",
                hint="Add gates: {accuracy: {dataset: {kind: ...}, max_drop: ...}} to the recipe.",
                field="gates.accuracy",
            )
        if self._examples is None:
            self._examples = self._read(spec.dataset, "gates.accuracy")
        return self._examples

    def examples_digest(self) -> str:
        """SHA-256 over the accuracy gate's data; it isn't read for this."""
        spec = self.recipe.gates.accuracy
        return "" if spec is None else DATASETS.get(spec.dataset.kind).digest(spec.dataset, self.recipe.folder)

    def example_requests(self) -> list[Tensors]:
        """The accuracy gate's rows as an application would send them."""
        return requests_from_examples(self.examples(), self._names)

    def requests_from_texts(self, texts: Sequence[str]) -> list[Tensors]:
        """Texts as an application would send them, those of a row separated by tabulators.

        Raises:
            RecipeError: the input takes something else, or another number of texts.
        """
        if any(spec.dtype != "bytes" for spec in self._input.public):
            raise RecipeError(f"input {self.recipe.given.kind} doesn't take texts", field="--text")
        rows = [text.split("\t") if len(self._names) > 1 else [text] for text in texts]
        for row in rows:
            if len(row) != len(self._names):
                raise RecipeError(
                    f"a row of input {self.recipe.given.kind} is {len(self._names)} texts ({', '.join(self._names)}), "
                    f"and {len(row)} were given",
                    hint="Separate the texts of a row by a tabulator.",
                    field="--text",
                )
        return [
            {name: np.array([[text.encode()]], dtype=object) for name, text in zip(self._names, row, strict=True)}
            for row in rows
        ]

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self._input.public)

    def _digest(self, spec: CalibrationSpec, field: str) -> str:
        if spec.dataset is not None:
            return DATASETS.get(spec.dataset.kind).digest(spec.dataset, self.recipe.folder)
        file = path_from_location(str(spec.file), self.recipe.folder)
        if not file.is_file():
            raise RecipeError(f"{field} data {file} isn't there", hint=f"Correct {field}.file.", field=f"{field}.file")
        return digest_of_file(file)

    def _requests(self, spec: CalibrationSpec, field: str) -> list[Tensors]:
        dataset = spec.dataset
        if dataset is None and Path(str(spec.file)).suffix == ".jsonl":
            dataset = LabelledOptions(kind="labelled", file=str(spec.file), label=None)
        if dataset is None:
            return self._input.requests_from_file(path_from_location(str(spec.file), self.recipe.folder))
        return requests_from_examples(self._read(dataset, field), self._names)

    def _read(self, dataset: DatasetOptions, field: str) -> Examples:
        """A data set, its columns of the kind that the input takes."""
        examples = DATASETS.get(dataset.kind).read(dataset, self.recipe.folder, self._names)
        for spec in self._input.public:
            is_text = isinstance(examples.rows[0][spec.name], str)
            if is_text != (spec.dtype == "bytes"):
                has, takes = ("texts", "numbers") if is_text else ("numbers", "texts")
                raise RecipeError(
                    f"{field}.dataset: '{spec.name}' holds {has}, and input {self.recipe.given.kind} takes {takes}",
                    hint="Name another data set, or another input.",
                    field=f"{field}.dataset",
                )
        return examples
