"""Words at the masks of a text."""

from __future__ import annotations

from tritonpack.evaluation.scorers._words import WordScorer

SCORER = WordScorer()
