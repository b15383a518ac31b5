"""One run of the benchmark: environments, servers, rounds, and what they add up to."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from comparing.answers import Reference
from comparing.environments import InstallError
from comparing.limit import Limit
from comparing.models import MODELS
from comparing.peak import operations_of_text, peaks
from comparing.profile import profile
from comparing.rounds import CACHED, FP32, HTTP, INT8, LIMITS, Rounds, awake, cells
from comparing.sides import Ours, Served, SideError
from comparing.workloads import make_workloads, tokens_of
from tritonpack.core.errors import TritonpackError
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from peers import Peer

    from comparing.environments import Environment, Environments
    from comparing.sides import Side

_PROFILED = (1, 32)
_WARM_UP = ("mixed", "paragraphs")
_WARM_UP_S = 1.0
_FAILURES = (SideError, TritonpackError, OSError, ValueError, LookupError, TypeError)
"""What a peer's server may do to whoever asks it."""


class Benchmark:
    """One run, whose ``document`` holds the results.

    Args:
        repository: the models that our server serves.
        weights: the model that peers serve.
        work: a folder for what peers make and say.
        count: rounds at most.
        deadline: on the clock of ``time.monotonic``; at least one round of every block is done.
        report: called with a line before each step.
    """

    def __init__(
        self, repository: Path, weights: Path, work: Path, count: int, deadline: float, report: Callable[[str], None]
    ) -> None:
        self._repository, self._weights, self._work = repository, weights, work
        self._count, self._report = count, report
        self._limits = {name: Limit(repository, MODELS[side]) for name, side in LIMITS.items()}
        tokenizer = self._limits[next(iter(LIMITS))].tokenizer
        self._workloads = make_workloads(tokenizer)
        report("PyTorch's answers and the machine's peak")
        self._reference = Reference(weights)
        self._rounds = Rounds(self._workloads, self._limits, deadline, report)
        self._sides: dict[str, dict[str, Any]] = {}
        mixed = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(self._workloads["mixed"].texts))]
        self.document: dict[str, Any] = {
            "workloads": {
                name: {"about": found.about, **asdict(tokens_of(tokenizer, found.texts))}
                for name, found in self._workloads.items()
            },
            "peaks": peaks(),
            "operations_of_mixed_text": operations_of_text(weights / "config.json", mixed),
            "sides": self._sides,
            "profile": {},
        }
        for name, limit in self._limits.items():
            vectors = np.concatenate([limit.embed([text]) for text in self._reference.texts]).astype(np.float64)
            self._of(name)["answers"] = asdict(self._reference.agreement_of(vectors))

    def run(
        self, peers: Mapping[str, Peer], environments: Environments, keep: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Install the peers and measure all sides in turn.

        Args:
            peers: by name.
            environments: where they are installed.
            keep: called with the document after each block, so that what is measured isn't lost with the rest.
        """
        installed = {
            name: (peer, found) for name, peer in peers.items() if (found := self._install(name, peer, environments))
        }
        together = [name for name in installed if not peers[name].alone]
        blocks = [together, *([name] for name in installed if peers[name].alone)]
        for number, names in enumerate(blocks):
            later = sum(len(block) + len(LIMITS) for block in blocks[number + 1 :])
            self._block(number, {name: installed[name] for name in names}, later)
            self.document["measured"] = [asdict(measured) for measured in self._rounds.measured]
            keep(self.document)

    def _of(self, side: str) -> dict[str, Any]:
        return self._sides.setdefault(side, {})

    def _install(self, name: str, peer: Peer, environments: Environments) -> Environment | None:
        self._report(f"environment of {peer.title}")
        self._of(name).update(title=peer.title, settings=peer.settings, is_fp32=peer.is_fp32)
        try:
            found = environments.ensure(peer)
        except (InstallError, OSError) as error:
            self._of(name)["error"] = f"not installed: {error}"
            return None
        names = [requirement.partition("==")[0].partition("[")[0] for requirement in peer.requirements]
        self._of(name)["versions"] = {name: found.versions[name] for name in names if name in found.versions}
        return found

    def _block(self, number: int, chosen: Mapping[str, tuple[Peer, Environment]], later: int) -> None:
        """Start servers, ask them, and end them.

        Args:
            number: of the block; the first asks for more of ours.
            chosen: the peers in it.
            later: how many sides are still to be measured after it.
        """
        first = number == 0
        with ExitStack() as stack:
            sides = self._start_ours(stack, (INT8, FP32, CACHED) if first else (INT8, FP32))
            sides += self._start_peers(stack, chosen)
            sides = [side for side in sides if self._is_right(side)]
            plan = [cell for cell in cells() if first or not cell.sides]
            self._rounds.run(number, sides, plan, self._count, len(sides) / (len(sides) + later))
            if first:
                self._profile(sides)
            for side in sides:
                with awake(side):
                    self._of(side.name)["memory_mb"] = side.memory_mb()

    def _start_ours(self, stack: ExitStack, names: Sequence[str]) -> list[Side]:
        sides: list[Side] = []
        for name in names:
            self._report(f"starting {name}")
            ours = Ours(name, self._repository, MODELS[name])
            stack.callback(ours.stop)
            self._of(name)["ready_s"] = ours.ready_s
            sides.append(ours)
            if name == INT8:
                sides.append(ours.over_http(HTTP))
        return sides

    def _start_peers(self, stack: ExitStack, chosen: Mapping[str, tuple[Peer, Environment]]) -> list[Side]:
        sides: list[Side] = []
        for name, (peer, environment) in chosen.items():
            self._report(f"starting {peer.title}")
            try:
                served = Served(name, peer, environment, self._weights, self._work / name)
            except (SideError, OSError) as error:
                self._of(name)["error"] = f"not started: {error}"
                continue
            stack.callback(served.stop)
            self._of(name)["ready_s"] = served.ready_s
            served.pause()
            sides.append(served)
        return sides

    def _is_right(self, side: Side) -> bool:
        """Warm it up and hold its answers against PyTorch's; one that fails at this isn't measured."""
        self._report(f"answers of {side.name}")
        try:
            with awake(side):
                for name in _WARM_UP:
                    side.ask(self._workloads[name], Closed(8), _WARM_UP_S)
                vectors = side.vectors(self._reference.texts)
        except _FAILURES as error:
            self._of(side.name)["error"] = f"no answers: {type(error).__name__}: {error}"
            return False
        self._of(side.name)["answers"] = asdict(self._reference.agreement_of(vectors))
        return True

    def _profile(self, sides: Sequence[Side]) -> None:
        for side in sides:
            if isinstance(side, Ours) and side.name in {INT8, FP32}:
                self._report(f"profile of {side.name}")
                found = {str(count): profile(side, self._workloads["mixed"], count) for count in _PROFILED}
                self.document["profile"][side.name] = found
