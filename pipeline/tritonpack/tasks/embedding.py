"""Text to one vector: pooled, and normalised if the recipe says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tritonpack.core.tensors import Agreement, Tensors, TensorSpec, agreement_of, row_cosines
from tritonpack.tasks import TaskOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = ("batch", "sequence")
_DEFAULT_VOCABULARY = 1000
_LEAST_NORM = 2.0**-20
"""Keeps a vector of zeros from becoming NaN. FP16 holds it exactly, and rounds PyTorch's own 1e-12 to zero."""


class EmbeddingOptions(TaskOptions):
    """How token vectors become one."""

    kind: Literal["embedding"]
    pooling: Literal["mean", "cls", "last"] = Field("mean", description="Which token vectors are kept.")
    normalize: bool = Field(default=True, description="Scale every vector to length 1.")


class Embedding:
    """``input_ids, attention_mask: (batch, seq) int64 -> embedding: (batch, d) float32``."""

    version = 2
    options = EmbeddingOptions
    auto_class = "AutoModel"
    optional_weights = ("pooler.",)
    # The graph's own name differs: exporters name inner values after operators, `embedding` among them.
    answers = {"embedding": "embedding_output"}  # noqa: RUF012  a protocol's data

    def signature(self, config: dict[str, Any]) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """Ids and mask in, one row per text out."""
        del config
        inputs = [TensorSpec(name, "int64", _ROWS) for name in ("input_ids", "attention_mask")]
        return inputs, [TensorSpec(self.answers["embedding"], "float32", ("batch", "dimension"))]

    def wrap(self, model: Any, options: EmbeddingOptions) -> Any:
        """Pool what the model returns: ``last_hidden_state``, a tensor (batch, seq, d), or (batch, d)."""
        import torch

        class Pooled(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by the type check
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                output = self.model(input_ids=input_ids, attention_mask=attention_mask)
                hidden = getattr(output, "last_hidden_state", output)
                vector = hidden if hidden.dim() == len(_ROWS) else _pool(hidden, attention_mask, options.pooling)
                return torch.nn.functional.normalize(vector, dim=-1, eps=_LEAST_NORM) if options.normalize else vector

        return Pooled().eval()

    def sample_inputs(self, rng: np.random.Generator, batch: int, length: int, config: dict[str, Any]) -> Tensors:
        """Random ids; the first row is full, the others end anywhere, so that padding is always there."""
        vocabulary = config.get("vocab_size") or _DEFAULT_VOCABULARY
        lengths = rng.integers(1, length + 1, size=batch)
        lengths[0] = length
        mask = (np.arange(length)[None, :] < lengths[:, None]).astype(np.int64)
        ids = rng.integers(0, vocabulary, size=(batch, length), dtype=np.int64)
        return {"input_ids": np.where(mask == 1, ids, config.get("pad_token_id") or 0), "attention_mask": mask}

    def agreement(self, reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
        """Element errors and the cosine of each vector."""
        return agreement_of(reference, candidate)

    def pair_scores(self, left: Tensors, right: Tensors) -> NDArray[Any]:
        """The cosine of the two vectors."""
        output = self.answers["embedding"]
        return row_cosines(left[output], right[output])


TASK = Embedding()


def _pool(hidden: Any, attention_mask: Any, pooling: str) -> Any:
    """``hidden: (batch, seq, d), attention_mask: (batch, seq) -> (batch, d)``."""
    import torch

    if pooling == "cls":
        return hidden[:, 0]
    weights = attention_mask.to(hidden.dtype)
    if pooling == "last":
        # One-hot of the last position that isn't padding: a product exports where indexing by value may not.
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        last = (attention_mask * positions).argmax(dim=1, keepdim=True)
        weights = (positions[None, :] == last).to(hidden.dtype)
    summed = (hidden * weights.unsqueeze(-1)).sum(dim=1)
    return summed / weights.sum(dim=1, keepdim=True).clamp(min=1)
