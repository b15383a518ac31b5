"""GPT-2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.core.padding import last_token
from tritonpack.families import Family

if TYPE_CHECKING:
    from collections.abc import Mapping


def _positions(config: Mapping[str, Any]) -> int | None:
    found: int | None = config.get("n_positions")
    return found


def _scored_by_mask(model: Any) -> Any:
    """Score the mask's last token.

    `transformers` guesses it from the padding id, and refuses batches where the configuration names none.
    """
    import torch
    from transformers import GPT2ForSequenceClassification
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Scored(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by the type check
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SequenceClassifierOutput:
            output = self.model.transformer(input_ids=input_ids, attention_mask=attention_mask)
            vector = last_token(output.last_hidden_state, attention_mask)
            return SequenceClassifierOutput(logits=self.model.score(vector))

    return Scored().eval() if isinstance(model, GPT2ForSequenceClassification) else model


# Its tokenizer adds no special tokens, so an empty text has none at all.
FAMILY = Family(model_types=("gpt2",), needs_token=True, positions=_positions, adapt=_scored_by_mask)
