"""Where a PyTorch model and its tokenizer come from: one file a kind of source, each holding ``SOURCE``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


class SourceOptions(BaseModel):
    """What a recipe says about its source; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


@dataclass(frozen=True)
class Located:
    """A source that was found, before anything heavy is imported.

    Args:
        config: the model's own configuration (``config.json``), empty if it has none.
        weights_digest: SHA-256 over everything that decides the model's numbers.
        tokenizer: opens a directory with the tokenizer's files, in any form that `transformers` reads.
        tokenizer_digest: SHA-256 over everything that decides the tokenizer; None if there is none.
        mask_token_id: the token that stands for a masked word, if the tokenizer's files name one.
        truncation_side: where the tokenizer cuts what is too long, ``right`` or ``left``.
        trust_remote_code: whether the recipe lets code run that comes with the model.
        versions: packages whose version decides the numbers too.
        handle: what the source itself needs to load the model later.
    """

    config: dict[str, Any]
    weights_digest: str
    tokenizer: Callable[[], AbstractContextManager[Path]] = field(repr=False)
    tokenizer_digest: str | None
    mask_token_id: int | None
    truncation_side: str
    trust_remote_code: bool
    versions: tuple[str, ...]
    handle: Any = field(repr=False)


class Source(Protocol):
    """A kind of source."""

    options: type[SourceOptions]

    def locate(self, options: Any, folder: Path) -> Located:
        """Find the model's files without importing torch; relative paths start from ``folder``.

        Raises:
            SourceError: something isn't there.
        """

    def load(self, located: Located, options: Any, *, auto_class: str, optional_weights: tuple[str, ...]) -> Any:
        """Load the model as an ``nn.Module`` in FP32, in evaluation mode.

        Args:
            located: what `locate` found.
            options: the recipe's options.
            auto_class: the `transformers` class that fits the task, e.g. ``AutoModel``.
            optional_weights: prefixes of weights that the task doesn't use and a checkpoint may lack.

        Raises:
            SourceError: the weights aren't there, aren't safe to load or don't fit the model.
        """


SOURCES: Registry[Source] = Registry("tritonpack.sources", "SOURCE")
