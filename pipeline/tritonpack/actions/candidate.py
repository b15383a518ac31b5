"""One precision of one target: from the FP32 graph to the engine's file, verified at each step."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from tritonpack.actions.model import BUILD_HINT
from tritonpack.core.action import Action
from tritonpack.core.errors import UnsupportedError
from tritonpack.core.tensors import Tolerance
from tritonpack.core.versions import identity_of
from tritonpack.engines import ENGINES, Engine
from tritonpack.engines.onnxruntime import ROUNDING
from tritonpack.precisions import PRECISIONS
from tritonpack.stages import compile, lower, raggedize, verify  # noqa: A004

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.actions.rewriting import RewritingActions


class Proof(NamedTuple):
    """A verification or a gate, and what a person calls the candidate that it is about."""

    candidate: str
    action: Action


class Candidate:
    """The actions that make and verify one engine.

    Args:
        rewriting: the precision.
        search: which layers are rewritten, where that is searched.
        store: the store's folder; engines keep their append-only side files below it.

    Raises:
        UnsupportedError: the engine doesn't understand the precision, or isn't installed.
    """

    def __init__(self, rewriting: RewritingActions, search: Action | None, store: Path) -> None:
        self.rewriting = rewriting
        self.model = rewriting.model
        self.search = search
        self.store = store
        self.spec = rewriting.spec
        self.engine: Engine = ENGINES.get(self.spec.engine)
        if self.spec.engine not in rewriting.precision.engines:
            raise UnsupportedError(
                f"target {rewriting.target}: engine {self.spec.engine} doesn't run precision {rewriting.name}",
                hint=f"{rewriting.name} runs on {', '.join(sorted(rewriting.precision.engines))}.",
                target=rewriting.target,
            )

    @cached_property
    def executable(self) -> bool:
        """Whether this machine can run the engine."""
        return self.engine.can_execute()

    @cached_property
    def lowered(self) -> Action:
        """The precision's rewrite."""
        found = {} if self.search is None else {"search": self.search}
        precision = self.rewriting.precision
        return Action(
            "lower",
            lower.VERSION,
            self.rewriting.parameters,
            {**self.rewriting.inputs, **found},
            lambda paths, out: lower.lowered_from_onnx(paths, precision, self.rewriting.how, out=out),
            self.rewriting.identity,
            f"precision {self.rewriting.name}",
        )

    @cached_property
    def ragged(self) -> Action:
        """The head that pads inside the graph, and token-wise work on the tokens alone."""
        axes = self.model.axes
        return Action(
            "ragged",
            raggedize.VERSION,
            {"axes": [axis.to_json() for axis in axes]},
            {"onnx": self.lowered, "exported": self.model.exported},
            lambda paths, out: raggedize.ragged_from_onnx(
                paths["onnx"], axes=axes, out=out, exported=paths["exported"]
            ),
            identity_of("onnx", "onnxruntime", hint=BUILD_HINT),
            "ragged head",
        )

    @cached_property
    def compiled(self) -> Action:
        """The engine's file."""
        profile = raggedize.ragged_profile(self.model.traced.inputs, self.model.axes, **self.spec.profile.model_dump())
        side = self.store / "side"
        return Action(
            "compile",
            self.engine.version,
            {"engine": self.spec.engine, "profile": {k: [r.least, r.best, r.greatest] for k, r in profile.items()}},
            {"onnx": self.ragged},
            lambda paths, out: compile.engine_from_onnx(paths["onnx"], self.engine, profile, cache=side, out=out),
            self.engine.identity(),
            f"engine {self.spec.engine}",
        )

    @property
    def runnable(self) -> tuple[Action, Engine, str]:
        """The last file that this machine can run, what runs it, and what a person calls it."""
        if self.executable:
            return self.compiled, self.engine, f"{self.spec.engine} {self.rewriting.name}"
        return self.ragged, ROUNDING, f"ONNX {self.rewriting.name}, ragged"

    @property
    def verifications(self) -> list[Proof]:
        """Every step against PyTorch, as early as it can be; on the CPU with FP16's roundings, as a GPU has them."""
        fp32 = PRECISIONS.get("fp32").tolerance
        name, gate, judge = self.rewriting.name, self.rewriting.gate, self.rewriting.judged_by
        proofs = [
            self._verify(self.model.exported, self.model.reference, ROUNDING, fp32, "ONNX as exported", ragged=False),
            self._verify(self.lowered, judge, ROUNDING, gate, f"ONNX {name}", ragged=False),
            self._verify(self.ragged, judge, ROUNDING, gate, f"ONNX {name}, ragged", ragged=True),
        ]
        if self.executable:
            last, engine, label = self.runnable
            proofs.append(self._verify(last, judge, engine, gate, label, ragged=True))
        return proofs

    @property
    def agreement(self) -> Action:
        """How far the last file that this machine can run is from PyTorch; held to nothing but being finite."""
        file, engine, name = self.runnable
        return self._verify(file, self.rewriting.judged_by, engine, Tolerance(), name, ragged=True).action

    def _verify(
        self, candidate: Action, reference: Action, engine: Engine, gate: Tolerance, name: str, *, ragged: bool
    ) -> Proof:
        model = self.model
        action = Action(
            "verify",
            verify.VERSION,
            {
                "gate": gate.to_json(),
                "axes": [axis.to_json() for axis in model.axes] if ragged else None,
                "task": model.recipe.task.kind,
                "task_version": model.task.version,
            },
            {"candidate": candidate, "reference": reference},
            lambda paths, out: verify.report_from_candidate(
                paths["candidate"],
                paths["reference"],
                engine=engine,
                task=model.task,
                outputs=model.traced.outputs,
                axes=model.axes if ragged else None,
                tolerance=gate,
                name=name,
                out=out,
            ),
            engine.identity(),
            f"verify {name}",
            proves=candidate,
        )
        return Proof(name, action)
