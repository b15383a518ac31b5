"""A question and the document that may answer it: ``question, context (batch, 1)``.

A document that is longer than the model becomes several rows: windows that overlap by ``stride`` tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tritonpack.core.errors import RecipeError
from tritonpack.core.tensors import TensorSpec
from tritonpack.inputs import InputOptions
from tritonpack.inputs._text import TokenInput, text_spec

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits


class QuestionContextOptions(InputOptions):
    """How a long document is cut into windows."""

    kind: Literal["question_context"] = "question_context"
    stride: int | None = Field(
        None,
        ge=0,
        description="Tokens that neighbouring windows share; null: a quarter of export.max_length, at most 128.",
    )
    max_windows: int = Field(16, ge=1, le=256, description="Most windows of one document; a longer one is refused.")


class QuestionContext(TokenInput):
    """The question and one window of the document in each row."""

    options = QuestionContextOptions
    public = (text_spec("question"), text_spec("context"))
    truncation = "only_second"
    details = (
        *TokenInput.details,
        TensorSpec("row", "int32", ("batch", 1)),
        TensorSpec("context_of_window", "bytes", ("batch", 1)),
    )

    def parameters(self, options: QuestionContextOptions, model: ModelTraits) -> dict[str, str]:
        """With the windows.

        Raises:
            RecipeError: the stride leaves a window no room.
        """
        stride = min(128, model.max_length // 4) if options.stride is None else options.stride
        if stride >= model.max_length:
            raise RecipeError(
                f"input.stride is {stride}, but a window holds export.max_length = {model.max_length} tokens",
                hint=f"Set input.stride well below {model.max_length}.",
                field="input.stride",
            )
        return {
            **super().parameters(options, model),
            "texts": "context,question" if model.context_first else "question,context",
            "windows_of": "context",
            "stride": str(stride),
            "max_windows": str(options.max_windows),
        }

    def rows_per_request(self, options: QuestionContextOptions) -> int:
        """As many as a document may have windows."""
        return options.max_windows


INPUT = QuestionContext()
