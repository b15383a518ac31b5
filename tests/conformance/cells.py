"""The table of what has to work: a cell is a model family with a head, and the recipe that serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LENGTH = 48
"""Below the 64 positions of the models, so that it is the recipe that truncates."""


@dataclass(frozen=True)
class Tolerance:
    """Two numbers are equal when they differ by no more than ``absolute + relative * |expected|``."""

    absolute: float
    relative: float

    def error(self, actual: float, expected: float) -> float:
        """How far off, in tolerances: at most 1 is equal."""
        return abs(actual - expected) / (self.absolute + self.relative * abs(expected))


@dataclass(frozen=True)
class Cell:
    """One row of the table.

    Args:
        family: the model's family; of a plain module, its name.
        head: what the table calls the task.
        model: the head that the model directory carries, of `models.HEADS`, or a factory in ``modules.py``,
            or a format of word vectors.
        task: the recipe's ``task``.
        input: the recipe's ``input``.
        asks: which of the questions in ``questions.py`` are asked.
        source: ``huggingface``, ``python_module`` or ``word_vectors``.
        config: what the recipe says of a plain module.
        max_length: the recipe's.
        tolerance: between served and expected, FP32 on both sides.
    """

    family: str
    head: str
    model: str
    task: dict[str, Any]
    asks: str
    input: dict[str, Any] | None = None
    source: str = "huggingface"
    config: dict[str, Any] = field(default_factory=dict)
    max_length: int = MAX_LENGTH
    tolerance: Tolerance = Tolerance(absolute=5e-6, relative=1e-5)

    @property
    def name(self) -> str:
        """Of the recipe and the served ensemble."""
        return f"{self.family}_{self.head}"


ENCODERS = (
    "bert", "distilbert", "roberta", "xlm_roberta", "albert", "electra", "deberta_v2", "modernbert", "mpnet", "xlnet",
)  # fmt: skip
_NO_MASKED_HEAD = ("xlnet",)
_AGGREGATION = {
    "bert": "simple", "distilbert": "first", "roberta": "average", "xlm_roberta": "max", "albert": "simple",
    "electra": "none", "deberta_v2": "first", "modernbert": "average", "mpnet": "max", "xlnet": "simple",
}  # fmt: skip
_NORMALIZED = ("bert", "roberta", "albert", "deberta_v2", "mpnet")
_CLASSIFICATION = {"kind": "classification"}
_QUESTIONS = {"kind": "question_context", "stride": 8, "max_windows": 16}


def cells() -> list[Cell]:
    """Every cell, in the table's order."""
    return [*(cell for family in ENCODERS for cell in _of_encoder(family)), *_of_decoders(), *_of_modules()]


def _of_encoder(family: str) -> Iterator[Cell]:
    mean = {"kind": "embedding", "pooling": "mean", "normalize": family in _NORMALIZED}
    yield Cell(family, "mean", "body", mean, "texts")
    if family == "bert":
        yield Cell(family, "cls", "body", {"kind": "embedding", "pooling": "cls", "normalize": False}, "texts")
        yield Cell(family, "last", "body", {"kind": "embedding", "pooling": "last", "normalize": True}, "texts")
    for head in ("single", "multi", "regression"):
        yield Cell(family, head, head, _CLASSIFICATION, "texts")
    entities = {"kind": "token_classification", "aggregation": _AGGREGATION[family]}
    yield Cell(family, "entities", "token", entities, "texts")
    answers = {"kind": "question_answering", "top_k": 3, "handle_impossible": family in {"roberta", "mpnet"}}
    yield Cell(family, "answers", "answer", answers, "questions", _QUESTIONS)
    for head in ("nli", "rerank"):
        yield Cell(family, head, head, _CLASSIFICATION, "pairs", {"kind": "text_pair"})
    if family not in _NO_MASKED_HEAD:
        yield Cell(family, "mask", "mask", {"kind": "fill_mask", "top_k": 5}, "masked")


def _of_decoders() -> Iterator[Cell]:
    yield Cell("gpt2", "last", "body", {"kind": "embedding", "pooling": "last", "normalize": True}, "texts")
    yield Cell("gpt2", "single", "single", _CLASSIFICATION, "texts")
    yield Cell("gpt2", "next", "next", {"kind": "next_token", "top_k": 10}, "texts")
    yield Cell("t5", "mean", "body", {"kind": "embedding", "pooling": "mean", "normalize": True}, "texts")


def _of_modules() -> Iterator[Cell]:
    def module(family: str, head: str, asks: str, input_kind: dict[str, Any], labels: list[str]) -> Cell:
        return Cell(
            family, head, family, _CLASSIFICATION, asks, input_kind,
            source="python_module",
            config={"id2label": dict(enumerate(labels)), "pad_token_id": 0},
            max_length=1600 if asks == "sounds" else 256,
        )  # fmt: skip

    yield module("bilstm_matcher", "match", "pairs", {"kind": "two_texts"}, ["match"])
    yield module("cnn_matcher", "match", "pairs", {"kind": "two_texts"}, ["different", "same"])
    yield module("bilstm_classifier", "single", "texts", {"kind": "text"}, ["red", "green", "blue"])
    sound = {"kind": "waveform", "sampling_rate": 1000, "least": 16}
    yield module("sound_classifier", "any_length", "sounds", sound, ["yes", "no", "noise"])
    window = {"kind": "waveform", "sampling_rate": 1000, "window": 400, "normalize": True}
    yield module("sound_window_classifier", "window", "sounds", window, ["yes", "no", "noise"])
    for form in ("word2vec", "glove", "fasttext"):
        task = {"kind": "embedding", "pooling": "mean", "normalize": form != "glove"}
        yield Cell(form, "mean", form, task, "texts", source="word_vectors", max_length=256)
