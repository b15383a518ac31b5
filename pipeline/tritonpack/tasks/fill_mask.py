"""The words that may stand where a text has a mask token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tritonpack.core.errors import RecipeError
from tritonpack.core.tensors import Tensors, TensorSpec
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks._head import Head, logits_of, wrapped

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits

_OUTPUT = "logits_output"


class FillMaskOptions(TaskOptions):
    """How many masks and words."""

    kind: Literal["fill_mask"]
    max_masks: int = Field(4, ge=1, le=64, description="Most mask tokens of one text; more are refused.")
    top_k: int = Field(5, ge=1, le=1000, description="How many words per mask, the best first.")


class FillMask(Head):
    """``tokens (batch, masks, k) BYTES, token_ids int32, scores float32, counts (batch, 1) int32``.

    The graph answers at the masks alone: a score per word of the vocabulary at every token would be
    megabytes a text.
    """

    version = 1
    options = FillMaskOptions
    inputs = ("text",)
    auto_class = "AutoModelForMaskedLM"
    heads = ("ForMaskedLM", "ForPreTraining")
    optional_weights = ()

    def outputs(self, options: FillMaskOptions, model: ModelTraits) -> list[TensorSpec]:
        """A score a word at each of the first masks; zeros where a text has fewer.

        Raises:
            RecipeError: the tokenizer has no mask token.
        """
        _mask_id(model)
        return [TensorSpec(_OUTPUT, "float32", ("batch", options.max_masks, "vocabulary"))]

    def wrap(self, module: Any, inputs: list[str], options: FillMaskOptions, model: ModelTraits) -> Any:
        """Take the rows of ``logits`` where the mask tokens are."""
        mask_id = _mask_id(model)

        def forward(module: Any, tensors: dict[str, Any]) -> Any:
            import torch

            is_mask = tensors["input_ids"] == mask_id
            rank = is_mask.to(torch.int64).cumsum(dim=1)
            wanted = torch.arange(1, options.max_masks + 1, device=rank.device)[None, :, None]
            # A product with one-hot rows: exports where gathering a number of rows that the values decide may not.
            chosen = (rank[:, None, :] == wanted) & is_mask[:, None, :]
            scores = logits_of(module(**tensors))
            return chosen.to(scores.dtype) @ scores

        return wrapped(module, inputs, forward)

    def prepare(self, rng: np.random.Generator, inputs: Tensors, model: ModelTraits) -> Tensors:
        """Put a mask in about every eighth place, and in the first."""
        ids, real = inputs["input_ids"], inputs["attention_mask"] == 1
        masked = rng.random(ids.shape) < 1 / 8
        masked[:, 0] = True
        return {**inputs, "input_ids": np.where(masked & real, _mask_id(model), ids)}

    def answer(self, options: FillMaskOptions, model: ModelTraits) -> Answer:
        """Words, best first; rows with fewer masks than others are filled up."""
        shape = ("batch", "masks", options.top_k)
        return Answer(
            (
                TensorSpec("tokens", "bytes", shape),
                TensorSpec("token_ids", "int32", shape),
                TensorSpec("scores", "float32", shape),
                TensorSpec("counts", "int32", ("batch", 1)),
            ),
            file="vocabulary",
            takes=("input_ids",),
            parameters={
                "mask_id": str(_mask_id(model)),
                "max_masks": str(options.max_masks),
                "top_k": str(options.top_k),
            },
            needs_tokenizer=True,
        )


TASK = FillMask()


def _mask_id(model: ModelTraits) -> int:
    if model.mask_token_id is None:
        raise RecipeError(
            "task fill_mask: the model's tokenizer has no mask token",
            hint="Name it in tokenizer_config.json: mask_token.",
            field="task",
        )
    return model.mask_token_id
