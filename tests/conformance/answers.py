"""Answers in one form for both sides, and how far two of them are apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from conformance.cells import Tolerance


@dataclass(frozen=True)
class Vector:
    """An embedding, ``(d,)``."""

    values: NDArray[Any]


@dataclass(frozen=True)
class Ranked:
    """Candidates with scores, the best first; of an expected answer all there are, of a served one the top.

    Args:
        candidates: ``(what it is, score)``.
    """

    candidates: tuple[tuple[Any, float], ...]


@dataclass(frozen=True)
class Listed:
    """Things with scores in the order of the text, e.g. entities."""

    things: tuple[tuple[Any, float], ...]


Answer = list[Vector | Ranked | Listed]
"""What one row is answered: one item, or one for each mask."""


@dataclass
class Measured:
    """How far answers were from what was expected, over many rows.

    Attributes:
        rows: how many were compared.
        max_error: greatest difference of two numbers.
        worst: the same in tolerances; at most 1 is equal.
        min_cosine: of any vector.
        problems: what was wrong, in words.
    """

    rows: int = 0
    max_error: float = 0.0
    worst: float = 0.0
    min_cosine: float = 1.0
    problems: list[str] = field(default_factory=list)

    def compare(self, expected: Answer, actual: Answer, top: int | None, tolerance: Tolerance, where: str) -> None:
        """Count one row.

        Args:
            expected: what `transformers` or the module answers.
            actual: what was served.
            top: how many candidates a served ranking has; None for all.
            tolerance: when two numbers are equal.
            where: what a problem is said to be of.
        """
        self.rows += 1
        if [type(item) for item in expected] != [type(item) for item in actual]:
            self.problems.append(f"{where}: {len(actual)} items instead of {len(expected)}")
            return
        for one, other in zip(expected, actual, strict=True):
            if isinstance(one, Vector) and isinstance(other, Vector):
                self._vector(one, other, tolerance, where)
            elif isinstance(one, Ranked) and isinstance(other, Ranked):
                self._ranked(one, other, top, tolerance, where)
            elif isinstance(one, Listed) and isinstance(other, Listed):
                self._listed(one, other, tolerance, where)

    def _number(self, expected: float, actual: float, tolerance: Tolerance, where: str) -> None:
        if not np.isfinite(actual):
            self.problems.append(f"{where}: {actual}")
            return
        self.max_error = max(self.max_error, abs(actual - expected))
        error = tolerance.error(actual, expected)
        self.worst = max(self.worst, error)
        if error > 1:
            self.problems.append(f"{where}: {actual:.7g} instead of {expected:.7g}")

    def _vector(self, expected: Vector, actual: Vector, tolerance: Tolerance, where: str) -> None:
        if expected.values.shape != actual.values.shape:
            self.problems.append(f"{where}: shape {actual.values.shape} instead of {expected.values.shape}")
            return
        for one, other in zip(expected.values.tolist(), actual.values.tolist(), strict=True):
            self._number(one, other, tolerance, where)
        norms = float(np.linalg.norm(expected.values) * np.linalg.norm(actual.values))
        cosine = float(expected.values @ actual.values) / norms if norms else 1.0
        self.min_cosine = min(self.min_cosine, cosine)

    def _ranked(self, expected: Ranked, actual: Ranked, top: int | None, tolerance: Tolerance, where: str) -> None:
        """Every rank has the score it should, and every candidate its own: either of two that tie may come first."""
        scores = dict(expected.candidates)
        count = len(expected.candidates) if top is None else min(top, len(expected.candidates))
        names = [name for name, _ in actual.candidates]
        if len(names) != count or len(set(names)) != count:
            self.problems.append(f"{where}: {names} are not {count} different ones")
            return
        for (name, score), (rightful, best) in zip(actual.candidates, expected.candidates, strict=False):
            self._number(best, score, tolerance, f"{where}: {name} at the rank of {rightful}")
            if name not in scores:
                self.problems.append(f"{where}: {name} is no candidate; {rightful} is")
            else:
                self._number(scores[name], score, tolerance, f"{where}: {name}")

    def _listed(self, expected: Listed, actual: Listed, tolerance: Tolerance, where: str) -> None:
        wanted, found = ([name for name, _ in items.things] for items in (expected, actual))
        if wanted != found:
            wrong = next((pair for pair in zip(wanted, found, strict=False) if pair[0] != pair[1]), None)
            self.problems.append(
                f"{where}: {len(found)} instead of {len(wanted)} things; the first that differ: {wrong}"
            )
            return
        for (name, one), (_, other) in zip(expected.things, actual.things, strict=True):
            self._number(one, other, tolerance, f"{where}: {name}")


def _embedding(outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    return [Vector(outputs["embedding"][row])]


def _classification(outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    names = [label.decode() for label in outputs["labels"][row]]
    return [Ranked(tuple(zip(names, outputs["scores"][row].tolist(), strict=True)))]


def _entities(outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    count = int(outputs["counts"][row, 0])
    things = [
        ((outputs["labels"][row, i].decode(), int(outputs["starts"][row, i]), int(outputs["ends"][row, i]),
          outputs["entities"][row, i].decode()), float(outputs["scores"][row, i]))
        for i in range(count)
    ]  # fmt: skip
    return [Listed(tuple(things))]


def _spans(outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    found = [
        ((int(outputs["starts"][row, i]), int(outputs["ends"][row, i]), outputs["answers"][row, i].decode()),
         float(outputs["scores"][row, i]))
        for i in range(outputs["answers"].shape[1])
        if outputs["starts"][row, i] >= 0
    ]  # fmt: skip
    return [Ranked(tuple(found))]


def _masks(outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    slots = range(int(outputs["counts"][row, 0]))
    return [_tokens({name: array[row] for name, array in outputs.items()}, slot)[0] for slot in slots]


def _tokens(outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    names = zip(outputs["token_ids"][row].tolist(), (token.decode() for token in outputs["tokens"][row]), strict=True)
    return [Ranked(tuple(zip(names, outputs["scores"][row].tolist(), strict=True)))]


_READ: dict[str, Callable[[dict[str, NDArray[Any]], int], Answer]] = {
    "embedding": _embedding,
    "classification": _classification,
    "token_classification": _entities,
    "question_answering": _spans,
    "fill_mask": _masks,
    "next_token": _tokens,
}


def answer_from_outputs(task: str, outputs: dict[str, NDArray[Any]], row: int) -> Answer:
    """What an ensemble answered for one row of a request."""
    return _READ[task](outputs, row)
