"""What every backend is given: one model as ONNX in each precision, and as PyTorch's module."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.actions import Workplace, Workshop
from tritonpack.api import default_store
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.core.tensors import ShapeRange
from tritonpack.loadtest.texts import DEFAULT_TEXTS
from tritonpack.recipe import load_recipe, overlaid

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.tensors import Tensors

PRECISIONS = ("fp32", "fp16", "int8")
_AGREEMENT_SHAPES = ((1, 6), (8, 24), (4, 60))


@dataclass(frozen=True)
class Source:
    """A recipe whose model is measured, with rows as long as it takes.

    Attributes:
        recipe: the file.
        longest: of a row, in tokens, unless the model takes fewer.
        store: where graphs are kept.
    """

    recipe: Path
    longest: int
    store: Path | None = None

    @cached_property
    def workshop(self) -> Workshop:
        """The recipe with a target for each precision.

        Raises:
            TritonpackError: the recipe or its model isn't right.
        """
        recipe = load_recipe(self.recipe)
        place = Workplace(self.store or default_store())
        model = Workshop(recipe, place).model
        positions = model.family.positions(model.located.config)
        overlay = {
            "export": {"max_length": min(self.longest, positions or self.longest)},
            # Every product in INT8: it is the speed that is asked, and no search decides by that.
            "targets": {
                _target(precision): {"engine": "onnxruntime", "precision": precision}
                | ({"quantization": {"layers": "all"}} if precision == "int8" else {})
                for precision in PRECISIONS
            },
            "calibration": {"file": str(DEFAULT_TEXTS)},
        }
        return Workshop(overlaid(recipe, overlay, origin="precisions to measure"), place)

    def __reduce__(self) -> tuple[type[Source], tuple[Path, int, Path | None]]:
        """Another process reads the recipe itself."""
        return Source, (self.recipe, self.longest, self.store)

    @property
    def max_length(self) -> int:
        """The longest row that is exported."""
        return self.workshop.model.traits.max_length

    def onnx(self, precision: str) -> Path:
        """The model in one precision, its rows padded: the graph before anything that an engine does to it.

        Raises:
            TritonpackError: it can't be exported or rewritten.
        """
        lowered = self.workshop.candidate(_target(precision), precision).lowered
        runner = Runner(Store(self.workshop.place.store))
        runner.run([lowered])
        return runner.artifact(lowered)

    def module(self) -> Any:
        """PyTorch's module, in FP32 on the CPU."""
        model, recipe = self.workshop.model, self.workshop.recipe
        loaded = model.source.load(
            model.located,
            recipe.source,
            auto_class=model.family.auto_classes.get(model.task.auto_class, model.task.auto_class),
            optional_weights=model.task.optional_weights,
        )
        return model.task.wrap(model.family.adapt(loaded), self.inputs, recipe.task, model.traits)

    @property
    def inputs(self) -> list[str]:
        """The graph's inputs in the order in which the module takes them."""
        return [spec.name for spec in self.workshop.model.traced.inputs]

    @property
    def outputs(self) -> list[str]:
        """The graph's outputs in the order in which the module gives them."""
        return [spec.name for spec in self.workshop.model.traced.outputs]

    def full_rows(self, batch: int, length: int) -> Tensors:
        """Inputs of one shape without any padding, (batch, length)."""
        sampled = self.workshop.model.traced.sample(np.random.default_rng([batch, length]), batch, length).inputs
        masks = {axis.mask for axis in self.workshop.model.axes}
        return {name: np.ones_like(array) if name in masks else array for name, array in sampled.items()}

    def padded_rows(self) -> list[Tensors]:
        """Inputs of several shapes whose rows differ in length, to compare answers."""
        rng, traced = np.random.default_rng(5), self.workshop.model.traced
        shapes = [(batch, min(length, self.max_length)) for batch, length in _AGREEMENT_SHAPES]
        return [traced.sample(rng, batch, length).inputs for batch, length in shapes]

    def profile(self, most: int, best: tuple[int, int]) -> dict[str, ShapeRange]:
        """The shapes that an engine is compiled for: up to ``most`` rows of any length, tuned for ``best``."""
        batch, length = best
        lengths = (1, min(length, self.max_length), self.max_length)
        ranges = {}
        for spec in self.workshop.model.traced.inputs:
            rows = [[length if isinstance(size, str) else size for size in spec.shape[1:]] for length in lengths]
            shapes = zip((1, min(batch, most), most), rows, strict=True)
            ranges[spec.name] = ShapeRange(*((count, *row) for count, row in shapes))
        return ranges


def _target(precision: str) -> str:
    return f"measured_{precision}"
