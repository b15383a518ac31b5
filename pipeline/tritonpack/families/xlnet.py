"""XLNet: relative positions, and a summary that looks at a row's end."""

from __future__ import annotations

from typing import Any

from tritonpack.core.padding import last_token
from tritonpack.families import Family, any_length, token_types_of_config


def _masked(model: Any) -> Any:
    """Give the model a floating-point mask, and its summary the last token of the row instead of padding.

    The model computes ``1.0 - attention_mask``. For a mask of integers the exporter promotes the types
    of that, and looks for a subtraction whose first operand is a number: there is none.
    """
    import torch
    from transformers import XLNetForSequenceClassification, XLNetPreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Masked(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by the type check
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
        ) -> Any:
            mask = attention_mask.to(self.model.dtype)
            return self.model(input_ids=input_ids, attention_mask=mask, token_type_ids=token_type_ids, use_mems=False)

    class Summarised(Masked):
        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
        ) -> Any:
            mask = attention_mask.to(self.model.dtype)
            hidden = self.model.transformer(
                input_ids=input_ids, attention_mask=mask, token_type_ids=token_type_ids, use_mems=False
            ).last_hidden_state
            kind = self.model.sequence_summary.summary_type
            if kind == "first":
                vector = hidden[:, 0]
            elif kind == "mean":
                vector = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            else:
                vector = last_token(hidden, attention_mask)
            # A row of one token has the same first, last and mean.
            summary = self.model.sequence_summary(vector[:, None])
            return SequenceClassifierOutput(logits=self.model.logits_proj(summary))

    if not isinstance(model, XLNetPreTrainedModel):
        return model
    kind = Summarised if isinstance(model, XLNetForSequenceClassification) else Masked
    return kind().eval()


FAMILY = Family(
    model_types=("xlnet",),
    has_token_types=token_types_of_config,
    types_one_text=True,
    context_first=True,
    positions=any_length,
    adapt=_masked,
)
