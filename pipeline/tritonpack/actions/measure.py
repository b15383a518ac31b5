"""What a candidate is worth: its answers on labelled data beside FP32's, its speed, and the gates on both."""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from tritonpack.actions.candidate import Candidate, Proof
from tritonpack.actions.model import BUILD_HINT, ModelActions
from tritonpack.core.action import Action
from tritonpack.core.errors import RecipeError, UnsupportedError
from tritonpack.core.machine import this_machine
from tritonpack.core.versions import identity_of
from tritonpack.engines import ENGINES, Engine
from tritonpack.evaluation.scorers import SCORERS, Scorer
from tritonpack.stages import gate, predict, score, speed
from tritonpack.stages.answers import answers_from_prepared
from tritonpack.stages.score import scored_from_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.engines import Session
    from tritonpack.recipe import AccuracySpec

_HINT = "pip install 'tritonpack[build,evaluation]'"


class Assessment:
    """The actions that measure candidates on the recipe's labelled data.

    Args:
        model: what all targets share.
    """

    def __init__(self, model: ModelActions) -> None:
        self.model = model
        self.rows = model.rows

    @cached_property
    def scorer(self) -> Scorer:
        """What the task's answers are worth.

        Raises:
            UnsupportedError: nobody has said yet.
        """
        kind = self.model.recipe.task.kind
        if kind not in SCORERS.names():
            raise UnsupportedError(
                f"task {kind} has no scorer, so its accuracy can't be measured",
                hint="Leave gates.accuracy out; gates.parity holds for every task.",
                field="gates.accuracy",
            )
        return SCORERS.get(kind)

    @cached_property
    def data(self) -> dict[str, Action | str]:
        """The labelled data, once it is certain that it fits the task and that the build was fitted to none of it."""
        recipe = self.model.recipe
        metric = None if recipe.gates.accuracy is None else recipe.gates.accuracy.metric
        said = {
            "input": recipe.given.model_dump(mode="json"),
            "task": recipe.task.kind,
            "scorer": self.scorer.version,
            "metric": metric,
        }

        def run(_: Mapping[str, Path], out: Path) -> dict[str, Any]:
            examples = self.rows.examples()
            if examples.pairs is not None and not self.scorer.takes_pairs:
                raise RecipeError(
                    f"gates.accuracy.dataset rates pairs of rows, but task {recipe.task.kind} answers each row",
                    hint="Use a data set of the kind 'labelled'.",
                    field="gates.accuracy.dataset",
                )
            gate.chosen_metric(metric, self.scorer.metrics(examples))
            self.rows.check_leakage()
            out.write_text("")
            return {"samples": len(examples)}

        digest = self.rows.examples_digest()
        checked = Action("labelled", 1, said, {"data": digest, **self.rows.seen}, run, "", "labelled data fits, unseen")
        return {"data": digest, "unseen": checked}

    @property
    def checks(self) -> list[Action]:
        """What says at once that labelled data won't do, before anything is made of the model."""
        return [action for action in self.data.values() if isinstance(action, Action)]

    @cached_property
    def baseline(self) -> Action:
        """Answers of the model as it came, in FP32."""
        return self._predictions(self.model.original, ENGINES.get("onnxruntime"), "FP32's answers", ragged=False)

    def predictions(self, candidate: Candidate) -> Action:
        """Answers of the last file of a candidate that this machine can run."""
        file, engine, name = candidate.runnable
        return self._predictions(file, engine, f"answers of {name}", ragged=True)

    def score(self, candidate: Candidate) -> Action:
        """Metrics of a candidate beside FP32's, with intervals."""
        task = self.model.task
        return Action(
            "score",
            score.VERSION,
            {"task": self.model.recipe.task.kind, "task_version": task.version, "scorer": self.scorer.version},
            {"candidate": self.predictions(candidate), "baseline": self.baseline, **self.data},
            lambda paths, out: score.report_from_predictions(
                paths["candidate"], paths["baseline"], examples=self.rows.examples(), scorer=self.scorer, out=out
            ),
            identity_of("scikit-learn", "scipy", hint=_HINT),
            f"metrics of {candidate.runnable[2]}",
        )

    def accuracy_gate(self, spec: AccuracySpec, candidate: Candidate) -> Proof:
        """The task's metric against FP32's."""
        file, _, name = candidate.runnable
        action = Action(
            "accuracy",
            gate.VERSION,
            {"metric": spec.metric, "max_drop": spec.max_drop},
            {"score": self.score(candidate)},
            lambda paths, out: gate.check_accuracy(
                paths["score"], metric=spec.metric, max_drop=spec.max_drop, name=name, out=out
            ),
            "",
            f"accuracy of {name}",
            proves=file,
        )
        return Proof(name, action)

    def budget(self, paths: Mapping[str, Path]) -> gate.MetricBudget | None:
        """The accuracy gate for a search, given the artifacts `budget_inputs`; None if there is no gate."""
        spec = self.model.recipe.gates.accuracy
        if spec is None:
            return None
        examples, fp32 = self.rows.examples(), predict.read_predictions(paths["baseline"])
        prepared = cache(lambda: self.model.prepared(self.rows.example_requests(), paths))
        name, metric = gate.chosen_metric(spec.metric, self.scorer.metrics(examples))

        def value(outputs: Any) -> float:
            return metric(scored_from_outputs(outputs, fp32, examples, self.scorer).candidate)

        def measure(session: Session) -> float:
            return value(answers_from_prepared(prepared(), session, self.model.axes, ragged=False))

        return gate.MetricBudget(name, value(fp32), spec.max_drop, measure)

    @property
    def budget_inputs(self) -> dict[str, Action | str]:
        """What `budget` reads; nothing without an accuracy gate."""
        if self.model.recipe.gates.accuracy is None:
            return {}
        return {"baseline": self.baseline, **self.data, **self.model.preprocessing}

    def speed(self, candidate: Candidate, safer: Candidate) -> Action:
        """How many times as fast as a safer precision, on this machine."""
        machine = this_machine()
        axes = self.model.axes
        return Action(
            "speed",
            speed.VERSION,
            {"axes": [axis.to_json() for axis in axes]},
            {
                "candidate": candidate.compiled,
                "baseline": safer.compiled,
                "reference": self.model.probe or self.model.reference,
            },
            lambda paths, out: speed.speed_from_engines(
                paths["candidate"], paths["baseline"], paths["reference"], engine=candidate.engine, axes=axes, out=out
            ),
            f"{candidate.engine.identity()} {machine.cpu}, {machine.cores} cores",
            f"speed of {candidate.rewriting.name} beside {safer.rewriting.name}",
        )

    def speed_gate(self, least: float, candidate: Candidate, safer: Candidate) -> Proof:
        """A precision must pay."""
        name = candidate.runnable[2]
        measured = self.speed(candidate, safer)
        check = partial(speed.check_speed, least=least, name=name, safer=safer.rewriting.name)
        action = Action(
            "pays",
            speed.VERSION,
            {"min_speedup": least},
            {"speed": measured},
            lambda paths, out: check(paths, out=out),
            "",
            f"speedup of {name}",
            proves=measured,  # a machine that was busy is asked again by the next build
        )
        return Proof(name, action)

    def _predictions(self, graph: Action, engine: Engine, description: str, *, ragged: bool) -> Action:
        def run(paths: Mapping[str, Path], out: Path) -> dict[str, Any]:
            return predict.predictions_from_graph(
                paths["graph"],
                engine=engine,
                requests=self.rows.example_requests(),
                steps=self.model.steps(paths),
                tokenizer=paths.get("tokenizer"),
                inputs=[spec.name for spec in self.model.traced.inputs],
                axes=self.model.axes,
                ragged=ragged,
                out=out,
            )

        task = self.model.recipe.task
        return Action(
            "predict",
            predict.VERSION,
            {"ragged": ragged, "task": task.model_dump(mode="json"), **self.model.shape},
            {"graph": graph, **self.data, **self.model.preprocessing},
            run,
            f"{engine.identity()} {identity_of('tokenizers', hint=BUILD_HINT)}",
            description,
        )
