"""A row to one vector: pooled, and normalised if the recipe says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.padding import last_token
from tritonpack.core.tensors import Tensors, TensorSpec, row_cosines
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks._head import Head, hidden_of, wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tritonpack.core.model import ModelTraits

_OUTPUT = "embedding_output"
_ROWS = 2
_LEAST_NORM = 2.0**-20
"""Keeps a vector of zeros from becoming NaN. FP16 holds it exactly, and rounds PyTorch's own 1e-12 to zero."""


class EmbeddingOptions(TaskOptions):
    """How token vectors become one."""

    kind: Literal["embedding"]
    pooling: Literal["mean", "cls", "last"] = Field("mean", description="Which token vectors are kept.")
    normalize: bool = Field(default=True, description="Scale every vector to length 1.")


class Embedding(Head):
    """``embedding: (batch, d) float32``."""

    version = 3
    options = EmbeddingOptions
    inputs = ("text", "waveform")
    auto_class = "AutoModel"
    heads: tuple[str, ...] = ()
    optional_weights = ("pooler.",)

    def outputs(self, options: EmbeddingOptions, model: ModelTraits) -> list[TensorSpec]:
        """One row per row; the graph's own name differs, since exporters name inner values after operators."""
        del options, model
        return [TensorSpec(_OUTPUT, "float32", ("batch", "dimension"))]

    def wrap(self, module: Any, inputs: list[str], options: EmbeddingOptions, model: ModelTraits) -> Any:
        """Pool what the model returns: ``last_hidden_state``, a tensor (batch, seq, d), or (batch, d)."""
        del model

        def forward(module: Any, tensors: dict[str, Any]) -> Any:
            import torch

            hidden = hidden_of(module(**tensors))
            vector = hidden if hidden.dim() == _ROWS else _pool(hidden, tensors["attention_mask"], options.pooling)
            return torch.nn.functional.normalize(vector, dim=-1, eps=_LEAST_NORM) if options.normalize else vector

        return wrapped(module, inputs, forward)

    def pair_scores(self, left: Tensors, right: Tensors) -> NDArray[Any]:
        """The cosine of the two vectors."""
        return row_cosines(left[_OUTPUT], right[_OUTPUT])

    def answer(self, options: EmbeddingOptions, model: ModelTraits) -> Answer:
        """The vectors themselves."""
        del options, model
        return Answer((TensorSpec("embedding", "float32", ("batch", "dimension")),), renames={"embedding": _OUTPUT})


TASK = Embedding()


def _pool(hidden: Any, attention_mask: Any, pooling: str) -> Any:
    """``hidden: (batch, seq, d), attention_mask: (batch, seq) -> (batch, d)``."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return last_token(hidden, attention_mask)
    weights = attention_mask.to(hidden.dtype)
    summed = (hidden * weights.unsqueeze(-1)).sum(dim=1)
    return summed / weights.sum(dim=1, keepdim=True).clamp(min=1)
