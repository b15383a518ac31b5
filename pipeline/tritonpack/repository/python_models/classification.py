"""Post-processing stage: logits of whole rows to labels with scores, best first.

Input ``logits_output``: (rows, labels) FP32. Outputs ``labels``: (rows, k) BYTES and ``scores``: (rows, k) FP32,
where k is ``top_k`` or all labels. They are what ``transformers``' ``pipeline("text-classification", top_k=...)``
answers; labels of equal score keep the model's order.

Parameters: ``labels`` (JSON list, in the model's order), ``activation`` (softmax, sigmoid or none; softmax if
absent), ``top_k`` (labels to answer; all if absent).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # A very negative logit makes exp overflow to infinity, whose inverse is the right 0.
    with np.errstate(over="ignore"):
        scores: NDArray[np.float32] = np.float32(1) / (np.float32(1) + np.exp(-logits))
    return scores


ACTIVATIONS = {"softmax": _softmax, "sigmoid": _sigmoid, "none": np.asarray}


class Stage:
    """Labels of a classifier.

    Args:
        folder: the version's folder; not read.
        parameters: see the head of this file.

    Raises:
        ValueError: a parameter is missing or bad.
    """

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:  # noqa: ARG002
        self.notices: list[str] = []
        labels = json.loads(parameters.get("labels", "null"))
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"labels: a JSON list of names is wanted, not {parameters.get('labels')!r}")
        self.labels = np.array([label.encode() for label in labels], object)
        activation = parameters.get("activation", "softmax")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: {', '.join(ACTIVATIONS)} are known, not {activation!r}")
        self.activate: Any = ACTIVATIONS[activation]
        self.top_k = int(parameters.get("top_k", len(labels)))
        if self.top_k < 1:
            raise ValueError(f"top_k: at least 1 is wanted, not {self.top_k}")

    def run(self, requests: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]] | str]:
        """Answer all requests with one pass over their joined rows.

        Args:
            requests: each holds ``logits_output``.

        Returns:
            Each request's ``labels`` and ``scores``, or why it has no answer.
        """
        arrays = [request["logits_output"] for request in requests]
        wrong = {array.shape[1] for array in arrays} - {len(self.labels)}
        if wrong:
            # One model made them all, so this is the build's mistake and no single request's.
            return [f"the model gives {wrong.pop()} logits for {len(self.labels)} labels; build it again"] * len(arrays)
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        logits = joined.astype(np.float32, copy=False)
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
        sound = bool(finite.all())
        scores = self.activate(logits if sound else np.where(finite[:, None], logits, np.float32(0)))
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.top_k]
        scores = np.take_along_axis(scores, order, axis=1)
        labels = self.labels[order]
        answers: list[dict[str, NDArray[Any]] | str] = []
        begin = 0
        for array in arrays:
            end = begin + len(array)
            if sound or finite[begin:end].all():
                answers.append({"labels": labels[begin:end], "scores": scores[begin:end]})
            else:
                answers.append(f"the model's logits of row {int(finite[begin:end].argmin())} aren't finite numbers")
            begin = end
        return answers
