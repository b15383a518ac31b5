"""One text a row: ``text (batch, 1)``."""

from __future__ import annotations

from typing import Literal

from tritonpack.inputs import InputOptions
from tritonpack.inputs._text import TokenInput, text_spec


class TextOptions(InputOptions):
    """No options: the tokenizer says the rest."""

    kind: Literal["text"] = "text"


class Text(TokenInput):
    """A text becomes one row of tokens."""

    options = TextOptions
    public = (text_spec("text"),)
    truncation = "longest_first"


INPUT = Text()
