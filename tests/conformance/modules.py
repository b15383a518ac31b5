"""Plain modules that a recipe's factory returns: siamese matchers, a recurrent classifier, two that listen.

The build copies this file beside the recipes, so it imports nothing of its own folder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WORD = 16
_STATE = 12


class BiLSTM(nn.Module):
    """``ids, mask: (rows, length) -> (rows, 24)``: the last states of both directions.

    A row is the same alone and padded: each direction is read at the row's own end.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, _WORD)
        self.forwards = nn.LSTM(_WORD, _STATE, batch_first=True)
        self.backwards = nn.LSTM(_WORD, _STATE, batch_first=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        vectors = self.words(ids)
        last = mask.sum(dim=1, keepdim=True) - 1
        mirrored = (last - torch.arange(ids.shape[1])).clamp(min=0)
        reverse = vectors.gather(1, mirrored.unsqueeze(-1).expand(-1, -1, _WORD))
        at_end = last.clamp(min=0).unsqueeze(-1).expand(-1, -1, _STATE)
        states = [lstm(side)[0].gather(1, at_end)[:, 0] for lstm, side in self._sides(vectors, reverse)]
        return torch.cat(states, dim=-1)

    def _sides(self, vectors: Tensor, reverse: Tensor) -> tuple[tuple[nn.LSTM, Tensor], tuple[nn.LSTM, Tensor]]:
        return (self.forwards, vectors), (self.backwards, reverse)


class CNN(nn.Module):
    """``ids, mask: (rows, length) -> (rows, 24)``: the greatest response of each filter in the row."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, _WORD)
        self.filters = nn.Conv1d(_WORD, 2 * _STATE, kernel_size=3, padding=1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        real = mask.to(torch.float32).unsqueeze(1)
        responses = torch.relu(self.filters(self.words(ids).transpose(1, 2) * real))
        return (responses * real).amax(dim=-1)


class Matcher(nn.Module):
    """Two texts, each encoded apart by the same encoder, to scores."""

    def __init__(self, encoder: nn.Module, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(8 * _STATE, labels)

    def forward(
        self,
        left_input_ids: Tensor,
        left_attention_mask: Tensor,
        right_input_ids: Tensor,
        right_attention_mask: Tensor,
    ) -> Tensor:
        left = self.encoder(left_input_ids, left_attention_mask)
        right = self.encoder(right_input_ids, right_attention_mask)
        return self.head(torch.cat([left, right, (left - right).abs(), left * right], dim=-1))


class TextClassifier(nn.Module):
    """One text to scores."""

    def __init__(self, encoder: nn.Module, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(2 * _STATE, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.encoder(input_ids, attention_mask))


class SoundClassifier(nn.Module):
    """``input_values: (rows, samples)`` to scores; with a mask, a row is the same alone and padded."""

    kernel, stride = 16, 8

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 2 * _STATE, kernel_size=self.kernel, stride=self.stride)
        self.head = nn.Linear(2 * _STATE, labels)

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        frames = torch.relu(self.filters(input_values.unsqueeze(1)))
        if attention_mask is None:
            return self.head(frames.mean(dim=-1))
        samples = attention_mask.sum(dim=1, keepdim=True)
        whole = (torch.arange(frames.shape[-1]) * self.stride + self.kernel <= samples).to(frames.dtype)
        summed = (frames * whole.unsqueeze(1)).sum(dim=-1)
        return self.head(summed / whole.sum(dim=-1, keepdim=True).clamp(min=1))


def bilstm_matcher(vocabulary: int) -> nn.Module:
    return _seeded(lambda: Matcher(BiLSTM(vocabulary), 1))


def cnn_matcher(vocabulary: int) -> nn.Module:
    return _seeded(lambda: Matcher(CNN(vocabulary), 2))


def bilstm_classifier(vocabulary: int) -> nn.Module:
    return _seeded(lambda: TextClassifier(BiLSTM(vocabulary), 3))


def sound_classifier() -> nn.Module:
    return _seeded(lambda: SoundClassifier(3))


def sound_window_classifier() -> nn.Module:
    return _seeded(lambda: SoundClassifier(3))


def _seeded(make):
    """The module with weights from a seed, wide enough that texts differ."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = make()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.4)
        return module.eval()
