"""A small model for every task and kind of input, made in code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # tests import no package of their own

from tiny_bert import WORDS, tiny_config, tiny_model, vocabulary

from tritonpack.core.model import ModelTraits

if TYPE_CHECKING:
    from tritonpack.core.tensors import Tensors

LENGTH = 32
LABELS = ("O", "NAME", "PLACE")
MASK = "cat"
OPTIONS: dict[str, dict[str, Any]] = {"waveform": {"sampling_rate": 8000, "least": 5}}
"""What a recipe has to say of an input beside its kind."""
_HEADS: dict[str, dict[str, Any]] = {
    "AutoModelForSequenceClassification": {"num_labels": len(LABELS)},
    "AutoModelForTokenClassification": {"num_labels": len(LABELS)},
    "AutoModelForCausalLM": {"is_decoder": True, "use_cache": False},
}


def tiny_traits(input_kind: str) -> ModelTraits:
    """The traits of `tiny_module`'s models."""
    named = {str(number): label for number, label in enumerate(LABELS)}
    return ModelTraits(
        config={**tiny_config().to_dict(), "id2label": named},
        max_length=LENGTH,
        token_types=input_kind in {"text_pair", "question_context"},
        mask_token_id=vocabulary().index(MASK),
    )


def tiny_module(auto_class: str, input_kind: str) -> Any:
    """A module that takes the graph's inputs of a kind by name, its weights from a seed."""
    if input_kind not in {"two_texts", "waveform"}:
        return tiny_model(auto_class, **_HEADS.get(auto_class, {}))
    import torch

    class Siamese(torch.nn.Module):
        """Classifies by how two texts' mean vectors differ."""

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(len(vocabulary()), 8)
            self.head = torch.nn.Linear(8, len(LABELS))

        def forward(
            self,
            left_input_ids: torch.Tensor,
            left_attention_mask: torch.Tensor,
            right_input_ids: torch.Tensor,
            right_attention_mask: torch.Tensor,
        ) -> torch.Tensor:
            left, right = (
                self.mean(left_input_ids, left_attention_mask),
                self.mean(right_input_ids, right_attention_mask),
            )
            return self.head((left - right).abs())

        def mean(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            weights = mask.to(torch.float32).unsqueeze(-1)
            return (self.table(ids) * weights).sum(dim=1) / weights.sum(dim=1)

    class Listener(torch.nn.Module):
        """Hears how loud a sound is, over its own samples."""

        def __init__(self) -> None:
            super().__init__()
            self.spread = torch.nn.Linear(2, 8)
            self.head = torch.nn.Linear(8, len(LABELS) if "Classification" in auto_class else 8)

        def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
            weights = torch.ones_like(input_values) if attention_mask is None else attention_mask.to(input_values.dtype)
            count = weights.sum(dim=1)
            heard = torch.stack(
                [(input_values * weights).sum(dim=1) / count, ((input_values * weights) ** 2).sum(dim=1) / count], dim=1
            )
            return self.head(torch.tanh(self.spread(heard)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (Siamese() if input_kind == "two_texts" else Listener()).eval()


def tiny_request(specs: tuple[Any, ...], rows: int, seed: int = 0) -> Tensors:
    """What an application might send: texts of words with a mask among them, or noise."""
    rng = np.random.default_rng(seed)
    request: Tensors = {}
    for spec in specs:
        if spec.dtype == "bytes":
            texts = [" ".join([MASK, *rng.choice(WORDS, rng.integers(1, 9))]) for _ in range(rows)]
            request[spec.name] = np.array([[text.encode()] for text in texts], dtype=object)
        else:
            request[spec.name] = rng.normal(size=(rows, 20)).astype(spec.dtype)
    return request
