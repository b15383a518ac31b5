"""Sound to the graph's inputs: cut or filled to a window, or as long as it is, normalised if the model wants it.

Parameters: ``outputs`` (``input_values``, and ``attention_mask`` where sounds differ in length), ``window`` (samples
of a row; absent: any length), ``max_length`` and ``least`` (samples, of sounds of any length), ``normalize``
(``true``: mean 0 and standard deviation 1 over the row's own samples), ``sampling_rate`` (told to clients).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_LEAST_VARIANCE = 1e-7
"""As the feature extractors of `transformers` keep silence from becoming infinite."""


class Stage:
    """One instance."""

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        """Read the parameters.

        Args:
            folder: the version's folder; nothing is read from it.
            parameters: as the module says.
        """
        del folder
        self.notices: list[str] = []
        self.cut = 0
        self.outputs = parameters["outputs"].split(",")
        self.window = int(parameters["window"]) if "window" in parameters else None
        self.longest = self.window or int(parameters["max_length"])
        self.least = 1 if self.window else int(parameters["least"])
        self.normalize = parameters.get("normalize") == "true"

    def run(self, requests: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray] | str]:
        """Answer each request.

        Args:
            requests: ``waveform``: (rows, samples) float32.

        Returns:
            For each request its outputs by name, or what is wrong with it.
        """
        before = self.cut
        answers = [self._answer(request["waveform"]) for request in requests]
        if self.cut > before:
            self.notices.append(f"{self.cut - before} sounds cut to {self.longest} samples ({self.cut} since start)")
        return answers

    def _answer(self, waveform: np.ndarray) -> dict[str, np.ndarray] | str:
        rows, samples = waveform.shape
        if samples < self.least:
            return f"waveform has {samples} samples a row; the model takes at least {self.least}"
        finite = np.isfinite(waveform).all(axis=1)
        if not finite.all():
            return f"waveform in row {int(finite.argmin())} holds NaN or infinity"
        if samples > self.longest:
            self.cut += rows
            waveform = waveform[:, : self.longest]
        real = waveform.shape[1]
        if self.normalize:
            centred = waveform - waveform.mean(axis=1, keepdims=True)
            waveform = centred / np.sqrt(waveform.var(axis=1, keepdims=True) + _LEAST_VARIANCE)
        values = np.ascontiguousarray(waveform, dtype=np.float32)
        if self.window is not None and real < self.window:
            values = np.pad(values, ((0, 0), (0, self.window - real)))
        arrays: dict[str, np.ndarray] = {"input_values": values, "attention_mask": np.ones((rows, real), np.int64)}
        return {name: arrays[name] for name in self.outputs}
