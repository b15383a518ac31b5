"""A row to scored labels: one of several, any of several, or a number (regression, reranking)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.tensors import Agreement, TensorSpec, score_agreement_of
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks._head import Head, labels_of, logits_of, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tritonpack.core.model import ModelTraits

_OUTPUT = "logits_output"


class ClassificationOptions(TaskOptions):
    """What becomes of the head's scores."""

    kind: Literal["classification"]
    labels: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the scores, in order; null: the model's own id2label."
    )
    activation: Literal["softmax", "sigmoid", "none"] | None = Field(
        None, description="How scores become probabilities; null: as the model's problem_type says."
    )
    top_k: int | None = Field(None, ge=1, description="How many labels are answered, the best first; null: all.")


class Classification(Head):
    """``labels (batch, k) BYTES, scores (batch, k) float32``, the best first."""

    version = 2
    options = ClassificationOptions
    inputs = ("text", "text_pair", "two_texts", "waveform")
    auto_class = "AutoModelForSequenceClassification"
    heads = ("ForSequenceClassification",)
    optional_weights = ()

    def outputs(self, options: ClassificationOptions, model: ModelTraits) -> list[TensorSpec]:
        """One score a label."""
        return [TensorSpec(_OUTPUT, "float32", ("batch", len(labels_of(options.labels, model))))]

    def wrap(self, module: Any, inputs: list[str], options: ClassificationOptions, model: ModelTraits) -> Any:
        """The model's ``logits``, or the tensor that a plain module returns."""
        del options, model
        return wrapped(module, inputs, lambda module, tensors: logits_of(module(**tensors)))

    def agreement(self, reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
        """Of a single score as every task; of several by how far they are off, since two have hardly a direction."""
        one = reference.shape[-1] == 1
        return super().agreement(reference, candidate) if one else score_agreement_of(reference, candidate)

    def answer(self, options: ClassificationOptions, model: ModelTraits) -> Answer:
        """Labels and scores."""
        labels = labels_of(options.labels, model)
        count = min(options.top_k or len(labels), len(labels))
        return Answer(
            (TensorSpec("labels", "bytes", ("batch", count)), TensorSpec("scores", "float32", ("batch", count))),
            file="classification",
            parameters={
                "labels": json.dumps(labels, ensure_ascii=False),
                "activation": options.activation or _activation(model.config, len(labels)),
                "top_k": str(count),
            },
        )


TASK = Classification()


def _activation(config: Mapping[str, Any], labels: int) -> str:
    """As the text classification pipeline of `transformers` chooses it.

    Source: https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/pipelines/text_classification.py
    """
    problem = config.get("problem_type")
    if problem == "regression":
        return "none"
    return "sigmoid" if problem == "multi_label_classification" or labels == 1 else "softmax"
