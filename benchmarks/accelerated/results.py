"""What was measured, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, int]
"""Rows of a call and their length in tokens."""


@dataclass
class Column:
    """One backend in one precision.

    Attributes:
        backend: its name on the page.
        precision: of the model.
        why: it isn't executed; empty if it is.
        load_s: to load and compile.
        cosine: the least of its answers to PyTorch's in FP32 on the CPU.
        milliseconds: by shape, median of a call, all rounds.
        failures: by shape, why there is no figure.
    """

    backend: str
    precision: str
    why: str = ""
    load_s: float = 0.0
    cosine: float = float("nan")
    milliseconds: dict[Shape, float] = field(default_factory=dict)
    failures: dict[Shape, str] = field(default_factory=dict)

    def rate(self, shape: Shape) -> float | None:
        """Texts a second; None where there is no figure."""
        milliseconds = self.milliseconds.get(shape)
        return None if milliseconds is None else 1000 * shape[0] / milliseconds

    def best_rate(self, length: int) -> float | None:
        """Most texts a second of one length, over all batches."""
        rates = [self.rate(shape) for shape in self.milliseconds if shape[1] == length]
        return max((rate for rate in rates if rate is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "why": self.why,
            "load_s": self.load_s,
            "cosine": None if self.why else self.cosine,
            "calls": [{"batch": b, "length": n, "ms": ms} for (b, n), ms in self.milliseconds.items()],
            "failures": [{"batch": b, "length": n, "why": why} for (b, n), why in self.failures.items()],
        }


@dataclass(frozen=True)
class Results:
    """All columns, and what they belong to.

    Attributes:
        device: its name.
        model: the recipe's.
        batches: measured, ascending.
        lengths: likewise.
        rounds: how often each figure was taken.
        versions: by package.
        machine: the host, in words.
    """

    device: str
    model: str
    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    rounds: int
    versions: dict[str, str]
    machine: str
    columns: tuple[Column, ...]

    def of(self, precision: str) -> list[Column]:
        """The executed columns of one precision."""
        return [column for column in self.columns if column.precision == precision and not column.why]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "device": self.device,
            "model": self.model,
            "machine": self.machine,
            "versions": self.versions,
            "rounds": self.rounds,
            "columns": [column.to_json() for column in self.columns],
        }
