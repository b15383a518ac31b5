"""Runs actions through the store: a hit costs a look-up, a miss runs once and is committed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from tritonpack.core.action import Action, in_order
from tritonpack.core.errors import VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.store import Record, Store


class Outcome(StrEnum):
    """What became of an action, or would."""

    HIT = "hit"
    RAN = "ran"
    MISS = "miss"
    BEHIND = "miss, behind another"


@dataclass(frozen=True)
class Step:
    """An action that hit or ran, and what the store knows of it."""

    action: Action
    outcome: Outcome
    record: Record


@dataclass(frozen=True)
class Foreseen:
    """What would become of an action, and what the store knows of it if it would hit."""

    action: Action
    outcome: Outcome
    record: Record | None


class Observer(Protocol):
    """Who wants to see a build go by."""

    def started(self, action: Action) -> None:
        """The action missed and is about to run."""

    def advanced(self, action: Action, done: int, total: int) -> None:
        """So many of its steps are done; only of actions that count them."""

    def finished(self, step: Step) -> None:
        """The action hit, or ran to its end."""


class Runner:
    """Runs a graph of actions; each action at most once.

    Args:
        store: where artifacts are looked up and committed.
        observer: told of every step.
    """

    def __init__(self, store: Store, observer: Observer | None = None) -> None:
        self.store = store
        self.steps: dict[Action, Step] = {}
        self._keys: dict[Action, str] = {}
        self._observer = observer

    def run(self, actions: list[Action]) -> list[Step]:
        """Bring every given action and all it needs to a committed artifact, inputs first.

        Raises:
            VerificationError: a candidate failed its gate; its artifact is discarded.
            TritonpackError: what an action raises.
        """
        return [self._bring(action) for action in in_order(actions)]

    def artifact(self, action: Action) -> Path:
        """The blob of an action that was run, its digest checked; made again if it is damaged."""
        found = self.store.read(self._keys[action])
        if found is None:
            del self.steps[action]
            self._bring(action)
            return self.artifact(action)
        return found[1]

    def lineage(self, action: Action) -> list[dict[str, Any]]:
        """How an artifact came to be, source first: each step's stage, versions and digests."""
        return [
            {
                "stage": step.stage,
                "description": step.description,
                "identity": step.identity,
                "inputs": self._input_digests(step),
                "key": self._keys[step],
                "sha256": self._bring(step).record.digest,
                "facts": self._bring(step).record.facts,
            }
            for step in in_order([action])
        ]

    def _bring(self, action: Action) -> Step:
        if action in self.steps:
            return self.steps[action]
        key = self._keys[action] = action.key(self._input_digests(action))
        record = self.store.find(key)
        outcome = Outcome.HIT
        if record is None:
            with self.store.locked(key):
                record = self.store.find(key)
                if record is None:
                    record, outcome = self._execute(action), Outcome.RAN
        step = self.steps[action] = Step(action, outcome, record)
        if self._observer is not None:
            self._observer.finished(step)
        return step

    def _execute(self, action: Action) -> Record:
        if self._observer is not None:
            self._observer.started(action)
        inputs = {name: self.artifact(source) for name, source in action.inputs.items() if isinstance(source, Action)}
        # Reading an input may have made a damaged artifact again, with another digest.
        key = self._keys[action] = action.key(self._input_digests(action))
        with self.store.scratch() as folder:
            begin = time.perf_counter()
            try:
                facts = action.run(inputs, folder / "artifact")
            except VerificationError:
                if action.proves is not None:
                    self.store.discard_artifact(self._keys[action.proves])
                raise
            return self.store.commit(key, folder / "artifact", facts, time.perf_counter() - begin)

    def _input_digests(self, action: Action) -> dict[str, str]:
        return {
            name: source if isinstance(source, str) else self._bring(source).record.digest
            for name, source in action.inputs.items()
        }


def foresee(store: Store, actions: list[Action]) -> list[Foreseen]:
    """What `Runner.run` would find, without running anything."""
    seen: dict[Action, Foreseen] = {}
    for action in in_order(actions):
        digests: dict[str, str] = {}
        for name, source in action.inputs.items():
            record = None if isinstance(source, str) else seen[source].record
            if isinstance(source, str):
                digests[name] = source
            elif record is not None:
                digests[name] = record.digest
        if len(digests) < len(action.inputs):
            seen[action] = Foreseen(action, Outcome.BEHIND, None)
            continue
        record = store.find(action.key(digests))
        seen[action] = Foreseen(action, Outcome.MISS if record is None else Outcome.HIT, record)
    return list(seen.values())
