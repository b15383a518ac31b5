"""Two texts a row, read apart by a siamese model: ``text, text_pair (batch, 1)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tritonpack.core.model import ModelTraits, RaggedAxis
from tritonpack.core.tensors import Tensors, TensorSpec
from tritonpack.inputs import InputOptions, Sample
from tritonpack.inputs._text import TokenInput, random_tokens, row_lengths, text_spec

if TYPE_CHECKING:
    import numpy as np

_SIDES = ("left", "right")
_TENSORS = ("input_ids", "attention_mask")


class TwoTextsOptions(InputOptions):
    """No options: each text is tokenized as if it were alone."""

    kind: Literal["two_texts"]


class TwoTexts(TokenInput):
    """``left_input_ids, left_attention_mask: (batch, left)``, and the same for ``right``."""

    version = 2
    options = TwoTextsOptions
    public = (text_spec("text"), text_spec("text_pair"))
    truncation = "longest_first"
    details = ()

    def graph_inputs(self, options: Any, model: ModelTraits) -> list[TensorSpec]:
        """Ids and mask of each side, each side with a length of its own."""
        del options, model
        return [TensorSpec(f"{side}_{name}", "int64", ("batch", side)) for side in _SIDES for name in _TENSORS]

    def axes(self, options: Any, model: ModelTraits) -> list[RaggedAxis]:
        """One a side."""
        del options
        return [
            RaggedAxis(
                side,
                f"{side}_attention_mask",
                {f"{side}_input_ids": model.pad_id, f"{side}_attention_mask": 0},
                model.max_length,
            )
            for side in _SIDES
        ]

    def parameters(self, options: Any, model: ModelTraits) -> dict[str, str]:
        """The texts are tokenized apart."""
        return {**super().parameters(options, model), "apart": "true"}

    def sample(self, rng: np.random.Generator, batch: int, length: int, options: Any, model: ModelTraits) -> Sample:
        """The right side is shorter by some tokens, so that the two lengths differ; the longest row fills both."""
        del options
        shorter = length if length == model.max_length else max(1, length - 3)
        inputs: Tensors = {}
        lengths: Tensors = {}
        for side, width in zip(_SIDES, (length, shorter), strict=True):
            lengths[side] = row_lengths(rng, batch, width)
            tokens = random_tokens(rng, lengths[side], width, model)
            inputs |= {f"{side}_{name}": array for name, array in tokens.items()}
        return Sample(inputs, lengths)


INPUT = TwoTexts()
