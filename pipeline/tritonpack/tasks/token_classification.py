"""Entities in a text: names, places, personal data, parts of speech."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.tensors import TensorSpec
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks._head import Head, labels_of, logits_of, wrapped

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits

_OUTPUT = "logits_output"


class TokenClassificationOptions(TaskOptions):
    """How labelled tokens become entities."""

    kind: Literal["token_classification"]
    labels: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the scores, in order; null: the model's own id2label."
    )
    aggregation: Literal["none", "simple", "first", "average", "max"] = Field(
        "simple", description="How tokens are joined to entities, as `transformers` does; none: every token alone."
    )
    ignore_labels: tuple[str, ...] = Field(("O",), description="Labels that are no entity.")


class TokenClassification(Head):
    """``entities, labels (batch, n) BYTES, scores float32, starts, ends int32, counts (batch, 1) int32``."""

    version = 1
    options = TokenClassificationOptions
    inputs = ("text",)
    auto_class = "AutoModelForTokenClassification"
    heads = ("ForTokenClassification",)
    optional_weights = ()

    def outputs(self, options: TokenClassificationOptions, model: ModelTraits) -> list[TensorSpec]:
        """One score a label for every token."""
        return [TensorSpec(_OUTPUT, "float32", ("batch", "sequence", len(labels_of(options.labels, model))))]

    def wrap(self, module: Any, inputs: list[str], options: TokenClassificationOptions, model: ModelTraits) -> Any:
        """The model's ``logits``, or the tensor that a plain module returns."""
        del options, model
        return wrapped(module, inputs, lambda module, tensors: logits_of(module(**tensors)))

    def answer(self, options: TokenClassificationOptions, model: ModelTraits) -> Answer:
        """Entities with their place in the text; rows with fewer than others are filled up."""
        return Answer(
            (
                *(TensorSpec(name, "bytes", ("batch", "entities")) for name in ("entities", "labels")),
                TensorSpec("scores", "float32", ("batch", "entities")),
                *(TensorSpec(name, "int32", ("batch", "entities")) for name in ("starts", "ends")),
                TensorSpec("counts", "int32", ("batch", 1)),
            ),
            file="token_classification",
            takes=("attention_mask", "offsets", "sequence", "subword", "text"),
            parameters={
                "labels": json.dumps(labels_of(options.labels, model), ensure_ascii=False),
                "aggregation": options.aggregation,
                "ignore_labels": json.dumps(options.ignore_labels, ensure_ascii=False),
            },
        )


TASK = TokenClassification()
