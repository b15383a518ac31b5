"""What is known of a model before it is loaded, and along which axes its rows differ in length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ModelTraits:
    """What inputs and tasks may know of a model.

    Args:
        config: the model's own configuration (``config.json``), or what the recipe says in its place.
        max_length: longest row that the recipe allows.
        token_types: whether the graph takes ``token_type_ids``.
        context_first: whether a document stands before its question.
        needs_token: whether a row without any token is refused.
        mask_token_id: the token that fill-mask asks for, if the tokenizer has one.
        truncation_side: where the tokenizer cuts a row that is too long.
    """

    config: Mapping[str, Any]
    max_length: int
    token_types: bool = False
    context_first: bool = False
    needs_token: bool = False
    mask_token_id: int | None = None
    truncation_side: str = "right"

    @property
    def pad_id(self) -> int:
        """The id that rows of ids are padded with."""
        return int(self.config.get("pad_token_id") or 0)


@dataclass(frozen=True)
class RaggedAxis:
    """An axis along which the rows of a batch differ in length.

    Args:
        name: as in the inputs' shapes, e.g. ``sequence``.
        mask: the input that is 0 where a row is padded.
        pads: by name of every input with this axis, the value that fills it up.
        longest: the greatest length of a row.
        least: the shortest that the model can take.
        dynamic: whether the graph takes any length; if not, every row is padded to ``longest``.
    """

    name: str
    mask: str
    pads: Mapping[str, float]
    longest: int
    least: int = 1
    dynamic: bool = True

    @property
    def length_input(self) -> str:
        """Name of the batcher's input with each row's length."""
        return f"{self.name}_length"

    @property
    def longest_input(self) -> str:
        """Name of the batcher's input whose shape is the longest row."""
        return f"longest_{self.name}"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is the inverse."""
        return {
            "name": self.name,
            "mask": self.mask,
            "pads": dict(self.pads),
            "longest": self.longest,
            "least": self.least,
            "dynamic": self.dynamic,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RaggedAxis:
        """Read what `to_json` wrote."""
        return cls(**value)
