"""What must hold, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparing.results import THROUGHPUT
from comparing.rounds import BEST, FP32, INT8, LIMITS, SINGLE

if TYPE_CHECKING:
    from comparing.results import Results

LIMIT_OF = {side: limit for limit, side in LIMITS.items()}
_SATURATED = ("closed:32", "closed:64")


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes:
        what: is promised.
        bound: at least, or at most where ``most``.
        value: as measured; None if a side has no figures.
    """

    what: str
    bound: float
    value: float | None
    most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it holds."""
        if self.value is None:
            return False
        return self.value <= self.bound if self.most else self.value >= self.bound

    @property
    def verdict(self) -> str:
        """For the table."""
        if self.value is None:
            return "not measured"
        off = self.value / self.bound - 1 if self.bound else 0.0
        return "met" if self.is_met else f"missed by {abs(off):.0%}"


def saturation(results: Results, side: str, workload: str) -> float | None:
    """The greatest share of the limit's throughput that a side serves."""
    limit = (LIMIT_OF[side], workload, BEST, THROUGHPUT)
    found = [results.ratio((side, workload, load, THROUGHPUT), limit) for load in _SATURATED]
    return max((value for value in found if value is not None), default=None)


def single(results: Results, side: str, workload: str) -> float | None:
    """How many times the limit's time a single text takes."""
    return results.ratio((side, workload, "closed:1", "p50_ms"), (LIMIT_OF[side], workload, SINGLE, "p50_ms"))


def targets(results: Results) -> list[Target]:
    """All of them."""
    found = [
        Target(f"{workload}, at saturation: share of the limit", 0.95, saturation(results, INT8, workload))
        for workload in ("short", "mixed")
    ]
    found += [
        Target(f"{workload}, one at a time: p50, times the limit's", 1.2, single(results, INT8, workload), most=True)
        for workload in ("short", "mixed")
    ]
    many, one = _SATURATED[0], "closed:1"
    if best := results.best_peer("mixed", many):
        drop = 100 * (_spearman(results, best) - _spearman(results, INT8))
        p99 = results.against(INT8, best, "mixed", many, "p99_ms")
        found += [
            Target("mixed, 32 at once, INT8: times the best peer", 4.5, results.against(INT8, best, "mixed", many)),
            Target("mixed, 32 at once, INT8: p99, times that peer's", 0.25, p99, most=True),
            Target("Spearman below that peer's, in points", 0.5, drop, most=True),
        ]
    if best := results.best_peer("mixed", many, is_fp32=True):
        value = results.against(FP32, best, "mixed", many)
        found += [Target("mixed, 32 at once, FP32: times the best peer in FP32", 2.5, value)]
    if best := results.best_peer("mixed", one):
        value = results.against(INT8, best, "mixed", one)
        found += [Target("mixed, one at a time, INT8: times the peer that is best at it", 1.0, value)]
    if best := results.best_peer("mixed", one, is_fp32=True):
        value = results.against(FP32, best, "mixed", one)
        found += [Target("mixed, one at a time, FP32: times the best of those in FP32", 1.0, value)]
    ready = results.sides.get(INT8, {}).get("ready_s")
    return [*found, Target("from start to ready, seconds", 6.0, ready, most=True)]


def _spearman(results: Results, side: str) -> float:
    return float(results.sides[side]["answers"]["spearman"])
