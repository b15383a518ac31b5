"""Two texts a row, read together by a cross-encoder: ``text, text_pair (batch, 1)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tritonpack.inputs import InputOptions
from tritonpack.inputs._text import TokenInput, text_spec

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits


class TextPairOptions(InputOptions):
    """How a pair that is too long is cut."""

    kind: Literal["text_pair"]
    truncation: Literal["longest_first", "only_first", "only_second"] = Field(
        "longest_first", description="Which text loses its end when the pair is too long."
    )


class TextPair(TokenInput):
    """Both texts in one row, joined as the model's tokenizer joins pairs."""

    options = TextPairOptions
    public = (text_spec("text"), text_spec("text_pair"))
    truncation = "longest_first"

    def parameters(self, options: TextPairOptions, model: ModelTraits) -> dict[str, str]:
        """With the recipe's truncation."""
        return {**super().parameters(options, model), "truncation": options.truncation}


INPUT = TextPair()
