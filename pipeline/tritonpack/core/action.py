"""An action is a pure function from declared artifacts to one artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tritonpack.core.digest import digest_of_json

Facts: TypeAlias = dict[str, Any]
"""What an action says about its artifact, as JSON: shapes, versions, measurements."""

Run: TypeAlias = Callable[[Mapping[str, Path], Path], Facts]
"""``run(inputs, out)`` reads the input artifacts, writes the file ``out`` and returns its facts."""


@dataclass(frozen=True)
class Action:
    """One step of a build.

    Args:
        stage: the verb, e.g. ``export``.
        version: raised by hand whenever the stage's code would write another artifact.
        parameters: everything that steers the step, as JSON.
        inputs: by name, the actions whose artifacts it reads, or the digest of something that
            lives outside the store (model files, calibration text).
        identity: versions of the tools that do the work.
        run: the work itself.
        description: how a person calls the step; never part of the key.
        proves: the action whose artifact this one verifies; it is discarded when this one fails.
    """

    stage: str
    version: int
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Action | str]
    run: Run = field(compare=False, repr=False)
    identity: str = ""
    description: str = field(default="", compare=False)
    proves: Action | None = field(default=None, compare=False, repr=False)

    def __hash__(self) -> int:
        """Identity: an action is one node of one build's graph."""
        return id(self)

    def key(self, input_digests: Mapping[str, str]) -> str:
        """The action's name in the store, given the digest of every input by name."""
        return digest_of_json(
            {
                "stage": self.stage,
                "version": self.version,
                "parameters": dict(self.parameters),
                "inputs": dict(input_digests),
                "identity": self.identity,
            }
        )


def in_order(actions: list[Action]) -> Iterator[Action]:
    """Every action that the given ones need and they themselves, inputs first, each once."""
    seen: set[int] = set()

    def visit(action: Action) -> Iterator[Action]:
        if id(action) in seen:
            return
        seen.add(id(action))
        for source in action.inputs.values():
            if isinstance(source, Action):
                yield from visit(source)
        yield action

    for action in actions:
        yield from visit(action)
