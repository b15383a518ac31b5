"""Extractive question answering: the span of a document that answers a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.tensors import TensorSpec
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks._head import Head, wrapped

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits


class QuestionAnsweringOptions(TaskOptions):
    """Which spans are answers."""

    kind: Literal["question_answering"]
    top_k: int = Field(1, ge=1, le=100, description="How many answers, the best first.")
    max_answer_length: int = Field(15, ge=1, description="Longest answer in tokens.")
    align_to_words: bool = Field(
        default=True, description="Answers begin and end with whole words, where the tokenizer knows words."
    )
    handle_impossible: bool = Field(default=False, description="An empty answer may win: the document has none.")


class QuestionAnswering(Head):
    """``answers (batch, k) BYTES, scores float32, starts, ends int32``: characters of the document."""

    version = 1
    options = QuestionAnsweringOptions
    inputs = ("question_context",)
    auto_class = "AutoModelForQuestionAnswering"
    heads = ("ForQuestionAnswering", "ForQuestionAnsweringSimple")
    optional_weights = ()

    def outputs(self, options: QuestionAnsweringOptions, model: ModelTraits) -> list[TensorSpec]:
        """How likely an answer starts and ends at each token."""
        del options, model
        return [TensorSpec(f"{side}_output", "float32", ("batch", "sequence")) for side in ("start", "end")]

    def wrap(self, module: Any, inputs: list[str], options: QuestionAnsweringOptions, model: ModelTraits) -> Any:
        """The model's ``start_logits`` and ``end_logits``, or the two tensors that a plain module returns."""
        del options, model

        def forward(module: Any, tensors: dict[str, Any]) -> Any:
            output = module(**tensors)
            return output if isinstance(output, tuple) else (output.start_logits, output.end_logits)

        return wrapped(module, inputs, forward)

    def answer(self, options: QuestionAnsweringOptions, model: ModelTraits) -> Answer:
        """The best spans over all windows of a document."""
        del model
        shape = ("batch", options.top_k)
        return Answer(
            (
                TensorSpec("answers", "bytes", shape),
                TensorSpec("scores", "float32", shape),
                TensorSpec("starts", "int32", shape),
                TensorSpec("ends", "int32", shape),
            ),
            file="question_answering",
            takes=("attention_mask", "offsets", "sequence", "words", "row", "context_of_window"),
            parameters={
                "top_k": str(options.top_k),
                "max_answer_length": str(options.max_answer_length),
                "align_to_words": str(options.align_to_words).lower(),
                "handle_impossible": str(options.handle_impossible).lower(),
            },
        )


TASK = QuestionAnswering()
