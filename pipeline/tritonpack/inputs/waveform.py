"""Sound: ``waveform (batch, samples) float32``, at the sampling rate that the model was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tritonpack.core.errors import RecipeError, SourceError
from tritonpack.core.model import ModelTraits, RaggedAxis
from tritonpack.core.tensors import Tensors, TensorSpec
from tritonpack.inputs import InputOptions, Sample
from tritonpack.inputs._text import row_lengths

if TYPE_CHECKING:
    from pathlib import Path

_AXIS = "samples"


class WaveformOptions(InputOptions):
    """What the model wants to hear."""

    kind: Literal["waveform"]
    sampling_rate: int = Field(ge=1, description="Samples a second that the model was trained with; told to clients.")
    window: int | None = Field(
        None,
        ge=1,
        description="Samples of one row: longer sound is cut, shorter filled with silence. Null: any length.",
    )
    normalize: bool = Field(default=False, description="Scale each row to mean 0 and standard deviation 1.")
    least: int = Field(1, ge=1, description="Shortest sound in samples that the model can take.")


class Waveform:
    """``input_values: (batch, samples) float32``, with ``attention_mask`` where sounds differ in length."""

    version = 1
    options = WaveformOptions
    stage = "preprocessor"
    file = "waveform"
    needs_tokenizer = False
    public = (TensorSpec("waveform", "float32", ("batch", _AXIS)),)
    details: tuple[TensorSpec, ...] = ()

    def graph_inputs(self, options: WaveformOptions, model: ModelTraits) -> list[TensorSpec]:
        """One window, or sound and mask."""
        del model
        if options.window is not None:
            return [TensorSpec("input_values", "float32", ("batch", options.window))]
        shape = ("batch", _AXIS)
        return [TensorSpec("input_values", "float32", shape), TensorSpec("attention_mask", "int64", shape)]

    def axes(self, options: WaveformOptions, model: ModelTraits) -> list[RaggedAxis]:
        """None for windows.

        Raises:
            RecipeError: the shortest sound is longer than the longest row.
        """
        if options.window is not None:
            return []
        if options.least > model.max_length:
            raise RecipeError(
                f"input.least is {options.least} samples, but export.max_length is {model.max_length}",
                hint="Set export.max_length to the longest sound in samples.",
                field="input.least",
            )
        pads = {"input_values": 0.0, "attention_mask": 0}
        return [RaggedAxis(_AXIS, "attention_mask", pads, model.max_length, options.least)]

    def parameters(self, options: WaveformOptions, model: ModelTraits) -> dict[str, str]:
        """Rate, window, limits."""
        window = {} if options.window is None else {"window": str(options.window)}
        return {
            "sampling_rate": str(options.sampling_rate),
            "normalize": str(options.normalize).lower(),
            "least": str(options.least),
            "max_length": str(model.max_length),
            **window,
        }

    def rows_per_request(self, options: Any) -> int:
        """One."""
        del options
        return 1

    def sample(
        self, rng: np.random.Generator, batch: int, length: int, options: WaveformOptions, model: ModelTraits
    ) -> Sample:
        """Noise."""
        del model
        if options.window is not None:
            return Sample({"input_values": rng.normal(size=(batch, options.window)).astype(np.float32)}, {})
        width = max(length, options.least)
        lengths = np.maximum(row_lengths(rng, batch, width), options.least)
        mask = (np.arange(width)[None, :] < lengths[:, None]).astype(np.int64)
        values = rng.normal(size=mask.shape).astype(np.float32) * mask.astype(np.float32)
        return Sample({"input_values": values, "attention_mask": mask}, {_AXIS: lengths})

    def requests_from_file(self, file: Path) -> list[Tensors]:
        """Each row of a NumPy array ``(n, samples)``.

        Raises:
            SourceError: the file holds no such array.
        """
        try:
            rows = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise SourceError(f"{file} isn't a NumPy file: {error}", hint="Save sounds as an .npy array.") from error
        if rows.ndim != 2:  # noqa: PLR2004  (n, samples)
            raise SourceError(f"{file} holds an array of shape {rows.shape}; sounds are (n, samples)")
        return [{"waveform": row[None].astype(np.float32)} for row in rows]


INPUT = Waveform()
