"""What sets one model family apart, as data: one file a family, each holding ``FAMILY``.

A stage never asks which family it has before it; it reads a field of `Family`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _positions_of_config(config: Mapping[str, Any]) -> int | None:
    found = config.get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def positions_after_padding(config: Mapping[str, Any]) -> int | None:
    """Longest row of a model that numbers its positions from ``pad_token_id + 1`` on."""
    positions = _positions_of_config(config)
    padding = config.get("pad_token_id")
    return None if positions is None else positions - (1 if padding is None else padding) - 1


def any_length(config: Mapping[str, Any]) -> None:
    """A model that knows only how far apart two tokens are has no longest row."""
    del config


def token_types_of_config(config: Mapping[str, Any]) -> bool:
    """Whether the model tells more than one type apart; it has two where its configuration names no number."""
    types: int = config.get("type_vocab_size", 2)
    return types > 1


def _no_token_types(config: Mapping[str, Any]) -> bool:
    del config
    return False


def _as_loaded(model: Any) -> Any:
    return model


@dataclass(frozen=True)
class Family:
    """How one family differs from the others.

    Args:
        version: raised when `adapt` would give another graph.
        model_types: ``model_type`` of the ``config.json`` files that belong to it.
        has_token_types: the model's configuration -> whether ``token_type_ids``, the part of a pair that a
            token is of, make a difference to it.
        types_one_text: whether a text alone has types other than 0 too; otherwise only pairs carry them.
        context_first: whether a document stands before its question, as models are trained that pad on the left.
        needs_token: whether a row without any token has no answer: everything would be masked.
        positions: the model's configuration -> longest row in tokens, or None if any length fits.
        auto_classes: a task's `transformers` class -> the family's own, where they differ.
        fp32_modules: names of submodules whose values leave FP16's range: a precision keeps them in FP32.
        adapt: the loaded model -> the module to export, called with the graph's inputs by name; it must
            treat a row padded at its end like the row alone, and hold nothing that the exporter can't take.
    """

    model_types: tuple[str, ...]
    version: int = 1
    has_token_types: Callable[[Mapping[str, Any]], bool] = _no_token_types
    types_one_text: bool = False
    context_first: bool = False
    needs_token: bool = False
    positions: Callable[[Mapping[str, Any]], int | None] = _positions_of_config
    auto_classes: Mapping[str, str] = field(default_factory=dict)
    fp32_modules: tuple[str, ...] = ()
    adapt: Callable[[Any], Any] = _as_loaded


FAMILIES: Registry[Family] = Registry("tritonpack.families", "FAMILY")

_OTHER = Family(model_types=())


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a model's configuration; one without traits of its own if no file knows it."""
    model_type = config.get("model_type")
    return next((family for family in FAMILIES.all().values() if model_type in family.model_types), _OTHER)
