"""The largest part of a graph that can be quantized inside a budget.

All groups together are tried first. Each group's damage is measured once, quantized alone, as far as the trials go.
Where not all fit, groups are taken by damage for the work that they save, the least first; bisection finds how many of
them the budget takes, and what it had to leave is tried one by one.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack.precisions import Group

VERSION = 3


@dataclass(frozen=True)
class Trial:
    """What a rewritten graph measured.

    Args:
        damage: squared error of the outputs by their variance.
        violation: what of the budget it breaks, as a sentence; empty inside it.
        metric: the task's metric, where the budget has one and parity held.
    """

    damage: float
    violation: str
    metric: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As the manifest tells it: JSON has no infinity."""
        return {**vars(self), "damage": _finite(self.damage), "metric": _finite(self.metric)}


@dataclass(frozen=True)
class Layer:
    """One group's part in the answer.

    Args:
        name: `Group.name`.
        nodes: the products in it.
        gain: its share of all the products' multiply-accumulates: what quantizing it saves.
        damage: of the outputs, when it alone is quantized; None where no trial was left for it.
        quantized: whether it is.
    """

    name: str
    nodes: int
    gain: float
    damage: float | None
    quantized: bool

    def to_json(self) -> dict[str, Any]:
        """As the manifest tells it."""
        return {**vars(self), "damage": _finite(self.damage)}


@dataclass(frozen=True)
class Found:
    """The answer.

    Args:
        met: whether a set with anything in it keeps the budget.
        layers: every group, in the graph's order.
        trials: how many graphs were measured.
        chosen: what the answer measured; where none was met, what came nearest.
        everything: what all groups together measured.
    """

    met: bool
    layers: tuple[Layer, ...]
    trials: int
    chosen: Trial
    everything: Trial


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


class _NoTrialLeft(Exception):  # noqa: N818  control flow inside this file
    """The last trial was used up."""


def largest_set(
    groups: Sequence[Group],
    *,
    measure: Callable[[frozenset[str]], Trial],
    damage_of: Callable[[str], float],
    trials: int,
) -> Found:
    """Search the largest set of groups that keeps the budget.

    Args:
        groups: what can be quantized.
        measure: quantizes these groups and says what comes out.
        damage_of: quantizes this group alone and says how far the outputs are off.
        trials: how many graphs may be measured, of both kinds together.
    """
    search = _Search(groups, measure, damage_of, trials)
    with suppress(_NoTrialLeft):
        search.run()
    return search.found()


class _Search:
    def __init__(
        self,
        groups: Sequence[Group],
        measure: Callable[[frozenset[str]], Trial],
        damage_of: Callable[[str], float],
        limit: int,
    ) -> None:
        self._groups = groups
        self._measure = measure
        self._damage_of = damage_of
        self._limit = limit
        self._sets: dict[frozenset[str], Trial] = {}
        self._damages: dict[str, float] = {}
        total = sum(group.multiplications for group in groups)
        self._gains = {group.name: group.multiplications / total for group in groups}

    def run(self) -> None:
        """Everything; then the damage of each, bisection over the greedy order, and what was left out one by one."""
        fits = self._is_inside(list(self._gains))
        order = self._greedy(reserved=0 if fits else len(self._gains).bit_length())
        if fits:
            return
        inside, outside = 0, len(order)
        while outside - inside > 1:
            middle = (inside + outside) // 2
            if self._is_inside(order[:middle]):
                inside = middle
            else:
                outside = middle
        kept = order[:inside]
        for name in order[inside + 1 :]:
            if self._is_inside([*kept, name]):
                kept.append(name)

    def _greedy(self, reserved: int) -> list[str]:
        """Groups by damage for the work that they save, the least first.

        Where too few trials are left to measure each group alone and to bisect afterwards, those are measured that
        save most, and the others come after them.
        """
        left = max(0, self._limit - len(self._sets) - reserved)
        worth = set(sorted(self._gains, key=self._gains.__getitem__, reverse=True)[:left])
        costs = {name: self._damage(name) / gain for name, gain in self._gains.items() if name in worth}
        return sorted(self._gains, key=lambda name: costs.get(name, math.inf))

    def found(self) -> Found:
        """What the trials so far say."""
        inside = [names for names, trial in self._sets.items() if not trial.violation]
        chosen = max(inside, key=self._gain) if inside else min(self._sets, key=lambda key: self._sets[key].damage)
        layers = tuple(
            Layer(
                group.name,
                nodes=len(group.nodes),
                gain=self._gains[group.name],
                damage=self._damages.get(group.name),
                quantized=bool(inside) and group.name in chosen,
            )
            for group in self._groups
        )
        everything = self._sets[frozenset(self._gains)]
        return Found(bool(inside), layers, len(self._sets) + len(self._damages), self._sets[chosen], everything)

    def _gain(self, names: frozenset[str]) -> float:
        return sum(self._gains[name] for name in names)

    def _damage(self, name: str) -> float:
        self._use_trial()
        self._damages[name] = self._damage_of(name)
        return self._damages[name]

    def _is_inside(self, names: Sequence[str]) -> bool:
        key = frozenset(names)
        if key not in self._sets:
            self._use_trial()
            self._sets[key] = self._measure(key)
        return not self._sets[key].violation

    def _use_trial(self) -> None:
        if len(self._sets) + len(self._damages) >= self._limit:
            raise _NoTrialLeft
