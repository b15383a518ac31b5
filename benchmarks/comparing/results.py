"""What the rounds add up to: medians of figures, and medians of each round's ratio."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from comparing.rounds import CACHED, FP32, HTTP, INT8, LIMITS, Measured

if TYPE_CHECKING:
    from collections.abc import Mapping

THROUGHPUT = "texts_per_s"
_OURS = (INT8, FP32, HTTP, CACHED)


class Results:
    """Looks figures of the benchmark's document up.

    Args:
        document: what ``serving.py`` wrote.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.sides: dict[str, dict[str, Any]] = document["sides"]
        self.measured = [Measured(**entry) for entry in document["measured"]]

    @property
    def peers(self) -> list[str]:
        """Names of all peers, the fastest first, those without figures last."""
        names = [name for name in self.sides if name not in {*_OURS, *LIMITS}]
        return sorted(names, key=lambda name: -(self.figure(name, "mixed", "closed:32") or 0.0))

    def title(self, side: str) -> str:
        """As tables write it."""
        return str(self.sides.get(side, {}).get("title", side))

    def rounds(self, side: str, workload: str, load: str, figure: str) -> dict[tuple[int, int], float]:
        """A figure of each round, by block and round."""
        return {
            (entry.block, entry.round): entry.figures[figure]
            for entry in self.measured
            if (entry.side, entry.workload, entry.load) == (side, workload, load) and figure in entry.figures
        }

    def figure(self, side: str, workload: str, load: str, figure: str = THROUGHPUT) -> float | None:
        """The median over the rounds; None if there is none."""
        found = self.rounds(side, workload, load, figure)
        return statistics.median(found.values()) if found else None

    def ratio(self, over: tuple[str, str, str, str], under: tuple[str, str, str, str]) -> float | None:
        """The median of each round's ratio of two figures, each given by side, workload, load and name."""
        top, bottom = self.rounds(*over), self.rounds(*under)
        found = [top[key] / bottom[key] for key in top if bottom.get(key)]
        return statistics.median(found) if found else None

    def against(self, side: str, peer: str, workload: str, load: str, figure: str = THROUGHPUT) -> float | None:
        """How many times a peer's figure a side's is."""
        return self.ratio((side, workload, load, figure), (peer, workload, load, figure))

    def best_peer(self, workload: str, load: str, *, is_fp32: bool = False) -> str | None:
        """The peer with the greatest throughput, of those in FP32 if asked so."""
        peers = [name for name in self.peers if self.sides[name].get("is_fp32", True) or not is_fp32]
        found = {name: value for name in peers if (value := self.figure(name, workload, load))}
        return max(found, key=found.__getitem__) if found else None

    def round_count(self) -> int:
        """Rounds of the first block, which all of our own cells are in."""
        return len({entry.round for entry in self.measured if entry.block == 0})
