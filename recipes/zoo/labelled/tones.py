"""Synthesised tones of known pitch: a fundamental with overtones, some noise, any loudness."""

from __future__ import annotations

import numpy as np

from labelled import Labelled

SEED = 7
RATE = 16_000
FRAME = 1024
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 1500.0


def frames(count: int) -> Labelled:
    """Frames of 1024 samples at 16 kHz; the label is the pitch in Hz."""
    rng = np.random.default_rng(SEED)
    pitches = np.exp(rng.uniform(np.log(_LOWEST_HZ), np.log(_HIGHEST_HZ), count))
    rows = []
    for pitch in pitches:
        times = np.arange(FRAME) / RATE
        parts = [
            rng.uniform(0.2, 1) / n * np.sin(2 * np.pi * n * pitch * times + rng.uniform(0, 6)) for n in (1, 2, 3, 4)
        ]
        sound = np.sum(parts, axis=0) + rng.normal(size=FRAME) * 0.02
        rows.append({"waveform": (sound * rng.uniform(0.05, 1)).astype(np.float32)})
    return Labelled(rows, pitches.tolist(), "synthesised tones")
