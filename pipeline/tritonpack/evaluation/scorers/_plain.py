"""What scorers share whose answers are neither drawn nor counted by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tritonpack.evaluation.scorers import Confusion, Curve, Scores


class Plain:
    """Each row stands alone; nothing to draw."""

    takes_pairs = False

    def curves(self, scores: Scores) -> list[Curve]:
        """None."""
        del scores
        return []

    def confusion(self, scores: Scores) -> Confusion | None:
        """None: the answers aren't one of several labels."""
        del scores
        return None
