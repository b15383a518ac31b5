"""What the tasks answer."""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """A label that a classifier gives.

    Attributes:
        label: its name.
        score: its probability, or the model's score where the recipe says so.
    """

    label: str
    score: float


class Entity(NamedTuple):
    """Something found in a text.

    Attributes:
        text: the entity as it stands in the text.
        label: what it is.
        score: its probability.
        start, end: ``text[start:end]`` of the text that was sent.
    """

    text: str
    label: str
    score: float
    start: int
    end: int


class Answer(NamedTuple):
    """An answer found in a context.

    Attributes:
        text: the answer as it stands in the context; empty where the context has none.
        score: its probability.
        start, end: ``context[start:end]``.
    """

    text: str
    score: float
    start: int
    end: int


class Token(NamedTuple):
    """A token that may stand at a place.

    Attributes:
        token: as text.
        token_id: in the model's vocabulary.
        score: its probability.
    """

    token: str
    token_id: int
    score: float
