"""Who is asked what, and the rounds in which all are asked in turn."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from comparing.sides import Served
from tritonpack.core.errors import TritonpackError
from tritonpack.loadtest.traffic import Arrivals, Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from comparing.limit import Limit
    from comparing.sides import Side
    from comparing.workloads import Workload
    from tritonpack.loadtest.traffic import Load

INT8, FP32, HTTP, CACHED = "ours, INT8", "ours, FP32", "ours, INT8, HTTP", "ours, INT8, cache"
LIMITS = {"limit, INT8": INT8, "limit, FP32": FP32}
BEST, SINGLE = "best batch", "one text"
_MANY = 32
_SECONDS, _SECONDS_MANY, _SECONDS_LONG = 2.0, 3.0, 4.5
_LIMIT_TEXTS = {"paragraphs": 96}
_SINGLES = 120
_HOPELESS = 1.3
"""An arrival rate so many times above what a side answered at most isn't asked of it: its queue would only grow."""


@dataclass(frozen=True)
class Cell:
    """A load of a workload, and which sides are put under it; none are named: all but the special ones."""

    workload: str
    load: Load
    sides: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it is measured."""
        if not isinstance(self.load, Closed) or self.load.concurrency < _MANY:
            return _SECONDS
        return _SECONDS_LONG if self.workload == "paragraphs" else _SECONDS_MANY

    def takes(self, name: str) -> bool:
        """Whether a side is put under it."""
        return name in self.sides if self.sides else name not in {HTTP, CACHED}


@dataclass(frozen=True)
class Measured:
    """One figure set of one round.

    Attributes:
        block: servers that were up together.
        round: within the block, from 0.
        load: its label, or `BEST` and `SINGLE` of the limit.
        figures: by name; empty if ``error`` says why.
    """

    block: int
    round: int
    side: str
    workload: str
    load: str
    figures: dict[str, float]
    error: str = ""


def cells() -> list[Cell]:
    """All that is asked in one round."""
    everyone = [
        *(Cell("mixed", Closed(count)) for count in (1, 8, 32, 64)),
        *(Cell(workload, Closed(32)) for workload in ("short", "paragraphs", "repeated")),
        *(Cell("mixed", Arrivals(rate)) for rate in (20.0, 60.0)),
    ]
    ours = [
        *(Cell("mixed", Closed(count), (INT8,)) for count in (2, 4, 16)),
        *(Cell(workload, Closed(count), (INT8,)) for workload in ("short", "paragraphs") for count in (1, 8, 64)),
        *(Cell("mixed", Arrivals(rate), (INT8, FP32)) for rate in (200.0, 400.0)),
        *(Cell("mixed", Closed(count), (HTTP,)) for count in (1, 32)),
        *(Cell("repeated", Closed(count), (CACHED,)) for count in (1, 32)),
    ]
    return everyone + ours


class Rounds:
    """Puts loads on servers, each in turn, and keeps what came of it.

    Args:
        workloads: by name.
        limits: the engines in this process, by the limit's name.
        deadline: on the clock of ``time.monotonic``; a round that wouldn't end before it isn't begun.
        report: called with one line before each load.
    """

    def __init__(
        self,
        workloads: Mapping[str, Workload],
        limits: Mapping[str, Limit],
        deadline: float,
        report: Callable[[str], None],
    ) -> None:
        self._workloads, self._limits, self._deadline, self._report = workloads, limits, deadline, report
        self._most: dict[str, float] = defaultdict(float)
        self.measured: list[Measured] = []

    def run(self, block: int, sides: Sequence[Side], plan: Sequence[Cell], count: int, share: float) -> None:
        """Measure a block: at most so many rounds, at least one, in its share of the time that is left.

        Args:
            block: its number.
            sides: servers that are up, those of peers paused.
            plan: what is asked.
            count: rounds.
            share: of the time until the deadline.
        """
        begin = time.monotonic()
        end = begin + share * max(0.0, self._deadline - begin)
        longest = 0.0
        for number in range(count):
            started = time.monotonic()
            if number and started + longest > end:
                return
            self._round(block, number, sides, plan)
            longest = max(longest, time.monotonic() - started)

    def _round(self, block: int, number: int, sides: Sequence[Side], plan: Sequence[Cell]) -> None:
        for name, limit in self._limits.items():
            for workload in dict.fromkeys(cell.workload for cell in plan):
                if not self._workloads[workload].repeated:
                    self._measure_limit(block, number, name, limit, self._workloads[workload])
        for cell in plan:
            asked = [side for side in sides if cell.takes(side.name)]
            # Another one begins each round.
            turn = number % max(len(asked), 1)
            for side in asked[turn:] + asked[:turn]:
                self._measure(block, number, side, cell)

    def _measure_limit(self, block: int, number: int, name: str, limit: Limit, workload: Workload) -> None:
        self._report(f"round {number + 1}: {name}, {workload.name}")
        texts = workload.texts[: _LIMIT_TEXTS.get(workload.name)]
        rate, size = limit.throughput(texts)
        best = {"texts_per_s": rate, "batch": float(size)}
        for load, figures in ((BEST, best), (SINGLE, limit.single_ms(texts[:_SINGLES]))):
            self.measured.append(Measured(block, number, name, workload.name, load, figures))

    def _measure(self, block: int, number: int, side: Side, cell: Cell) -> None:
        load = cell.load
        if isinstance(load, Arrivals) and load.rate_per_s > _HOPELESS * self._most[side.name]:
            return
        self._report(f"round {number + 1}: {side.name}, {cell.workload}, {load.label}")
        figures: dict[str, Any] = {}
        error = ""
        try:
            with awake(side):
                figures = asdict(side.ask(self._workloads[cell.workload], load, cell.seconds))
        except (TritonpackError, OSError) as failure:
            error = str(failure)
        else:
            if cell.workload == "mixed":
                self._most[side.name] = max(self._most[side.name], figures["texts_per_s"])
        self.measured.append(Measured(block, number, side.name, cell.workload, load.label, figures, error))


@contextmanager
def awake(side: Side) -> Iterator[None]:
    """A peer's server runs while it is asked, and is paused again after."""
    if not isinstance(side, Served):
        yield
        return
    side.resume()
    try:
        yield
    finally:
        side.pause()
