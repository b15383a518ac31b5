"""A scorer of single labels, small: what stages and reports are tried with, apart from any task."""

from __future__ import annotations

import numpy as np

from tritonpack.evaluation.scorers import Confusion, Curve, Scores


class LabelScorer:
    """The best label of `labels (1, k)` against an expected one, with its score as the loss."""

    version = 1
    takes_pairs = False

    def metrics(self, examples):
        del examples
        return {"accuracy": _accuracy, "certainty": _certainty}

    def answers(self, outputs):
        return [answer["labels"][0, 0].decode() for answer in outputs]

    def scores(self, examples, outputs):
        answers, expected = self.answers(outputs), list(examples.expected)
        right = np.array([one == other for one, other in zip(answers, expected, strict=True)])
        best = np.array([answer["scores"][0, 0] for answer in outputs], dtype=np.float64)
        losses = np.where(right, 1 - best, best)
        return Scores({"right": right}, losses, answers, expected, {"labels": sorted(set(expected))})

    def curves(self, scores):
        points = np.linspace(0, 1, 999)
        return [
            Curve("ROC", "False positives", "True positives", points, points ** (1 - scores.columns["right"].mean()))
        ]

    def confusion(self, scores):
        labels = scores.shared["labels"]
        counts = np.zeros((len(labels), len(labels)), int)
        for expected, answer in zip(scores.expected, scores.shown, strict=True):
            counts[labels.index(expected), labels.index(answer)] += 1
        return Confusion(labels, counts.tolist())


def answers(*pairs, names=("no", "yes")):
    """Answers of a classifier of two labels: the best one, and its score."""
    found = []
    for best, score in pairs:
        other = next(name for name in names if name != best)
        found.append(
            {
                "labels": np.array([[best.encode(), other.encode()]], dtype=object),
                "scores": np.array([[score, 1 - score]], dtype=np.float32),
            }
        )
    return found


def _accuracy(scores):
    right = scores.columns["right"]
    return float(right.mean()) if len(right) else float("nan")


def _certainty(scores):
    return float(1 - scores.losses.mean()) if len(scores.losses) > 2 else float("nan")
