"""What a proposal is made of: values and where each was found, and what nobody could tell from the files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ASSUMED = "assumed"


@dataclass(frozen=True)
class Finding:
    """One value.

    Args:
        field: its place in the recipe, e.g. ``task.pooling``.
        value: what stands there.
        origin: the file that says it, or `ASSUMED`.
        written: whether the recipe holds it; otherwise it is the model's own and a comment names it.
    """

    field: str
    value: Any
    origin: str
    written: bool = True


@dataclass(frozen=True)
class Notice:
    """What the files don't tell.

    Args:
        field: its place in the recipe.
        assumed: what the proposal goes by.
        why: what is missing.
        check: what a person has to look at, or do.
        decide: the build stops without an answer, or may serve something else than the model's makers mean.
    """

    field: str
    assumed: str
    why: str
    check: str
    decide: bool = False


class Findings:
    """Collects both, in the order in which they are found."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.notices: list[Notice] = []

    def add(self, field: str, value: Any, origin: str, *, written: bool = True) -> None:
        """A value that a file names."""
        self.found.append(Finding(field, value, origin, written=written))

    def assume(self, field: str, value: Any, *, why: str, check: str, decide: bool = False) -> None:
        """A value that no file names."""
        self.found.append(Finding(field, value, ASSUMED))
        self.note(field, value if isinstance(value, str) else str(value).lower(), why=why, check=check, decide=decide)

    def note(self, field: str, assumed: str, *, why: str, check: str, decide: bool = False) -> None:
        """Something to look at that changes no value."""
        self.notices.append(Notice(field, assumed, why, check, decide))
