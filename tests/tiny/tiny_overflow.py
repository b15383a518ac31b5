"""A model that leaves FP16's range in every way that real ones do, and stays harmless in FP32."""

from __future__ import annotations

from typing import Any

import numpy as np

WIDTH = 32
WORDS = 64
OUTPUTS = 8


def overflowing() -> Any:
    """``(input_ids, attention_mask) -> scores (batch, OUTPUTS)``, weights from a seed.

    Its submodules, in their order: ``attention`` has logits of several thousand and masks with -3.4e38; ``grow``
    carries the residual stream past 65504; ``root`` squares that; ``variance`` adds squares up past 65504, while
    every value that it reads is within; ``faint`` works on values that FP16 makes zeros; ``inner`` and ``head`` and
    the products of ``attention`` are like any other model's.
    """
    import torch
    from torch import nn

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
            nn.init.orthogonal_(self.query.weight)
            self.query.weight.data *= 12
            self.key.weight.data = self.query.weight.data.clone()

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            scores = self.query(x) @ self.key(x).transpose(1, 2)
            hidden = (1 - mask[:, None, :].to(x.dtype)) * torch.finfo(torch.float32).min
            return torch.softmax(scores + hidden, dim=-1) @ self.value(x)

    class Root(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-12)

    class Faint(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            small = x * 1e-7
            return small / (small.abs().sum(-1, keepdim=True) + 1e-12)

    class Overflowing(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, WIDTH)
            self.attention = Attention()
            self.inner = nn.Linear(WIDTH, 2 * WIDTH)
            self.grow = nn.Linear(2 * WIDTH, WIDTH)
            self.grow.weight.data *= 3e5
            self.root = Root()
            self.loud = nn.Linear(WIDTH, WIDTH)
            self.loud.weight.data *= 500
            self.variance = nn.LayerNorm(WIDTH, eps=1e-12)
            self.faint = Faint()
            self.head = nn.Linear(WIDTH, OUTPUTS)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            x = self.words(input_ids)
            x = x + self.attention(x, attention_mask)
            x = x + self.grow(torch.tanh(self.inner(x)))
            x = self.variance(self.loud(self.root(x)))
            x = x + WIDTH * self.faint(x)
            kept = attention_mask[:, :, None].to(x.dtype)
            return self.head((x * kept).sum(1) / kept.sum(1).clamp(min=1e-9))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Overflowing().eval()


def overflowing_inputs(rng: np.random.Generator, batch: int, length: int) -> dict[str, Any]:
    """Rows of several lengths, the first of the whole length."""
    lengths = np.concatenate([[length], rng.integers(1, length + 1, batch - 1)])
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return {"input_ids": rng.integers(1, WORDS, (batch, length)) * mask, "attention_mask": mask}
