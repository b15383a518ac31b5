"""An evaluation and an error analysis as data: what is printed, drawn and written as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class TargetScore:
    """What one target, or one precision, of a recipe is worth.

    Args:
        target: the target's name; for a served model, the server's address.
        precision: its precision.
        engine: what ran it.
        score: what `tritonpack.stages.score.report_from_predictions` says.
        size_bytes: of the engine's file; None if it isn't known, as of a served model.
        speed_ratio: FP32's time over its own, on this machine in one run; None if it wasn't measured.
        note: what a reader must know, e.g. that the graph was measured and not the engine.
        rewriting: what the precision's rewrite says of itself.
        search: what a search for the layers to quantize found: ``layers`` of ``name, damage, gain, quantized``;
            None without one.
        agreement: by output of the graph, how far it is from PyTorch's on rows that nothing was fitted to; none of a
            served model.
    """

    target: str
    precision: str
    engine: str
    score: Mapping[str, Any]
    size_bytes: int | None = None
    speed_ratio: float | None = None
    note: str = ""
    rewriting: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] | None = None
    agreement: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self) | {"mean_cosine": self.mean_cosine}

    @property
    def layers(self) -> Sequence[Mapping[str, Any]]:
        """Groups of layers that a search chose among."""
        return () if self.search is None else self.search["layers"]

    @property
    def mean_cosine(self) -> float | None:
        """Least over the graph's outputs of their mean cosine to PyTorch's; of a served model, of the answers'.

        None without one to compare.
        """
        cosines = [output["mean_cosine"] for output in (self.agreement or self.score["outputs"]).values()]
        return min(cosines, default=None)


@dataclass(frozen=True)
class Evaluation:
    """What a recipe's targets are worth on labelled data.

    Args:
        recipe: its name.
        task: its kind.
        dataset: the kind of data set and where it lies, as a person writes it.
        targets: FP32 first, where it was asked for.
        served: the server that answered; empty if everything ran in process.
        refused: by target that has no score, why.
    """

    recipe: str
    task: str
    dataset: str
    targets: Sequence[TargetScore]
    served: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "recipe": self.recipe,
            "task": self.task,
            "dataset": self.dataset,
            "served": self.served,
            "targets": [target.to_json() for target in self.targets],
            "refused": dict(self.refused),
        }

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, the usual one first."""
        return list(self.targets[0].score["metrics"]) if self.targets else []


@dataclass(frozen=True)
class Sample:
    """A sample that the candidate answers otherwise, or worse.

    Args:
        index: its place in the data set.
        inputs: what was asked, by name.
        expected: what was expected, as a person reads it.
        baseline: the baseline's answer, likewise.
        candidate: the candidate's.
        changed: whether the two answers differ.
        baseline_loss: how wrong the baseline is; 0 is right.
        candidate_loss: how wrong the candidate is.
        slices: by slice's name, the part of it that the sample is in.
    """

    index: int
    inputs: Mapping[str, str]
    expected: str
    baseline: str
    candidate: str
    changed: bool
    baseline_loss: float | None
    candidate_loss: float | None
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def growth(self) -> float:
        """How much more wrong the candidate is."""
        if self.candidate_loss is None or self.baseline_loss is None:
            return 0.0
        return self.candidate_loss - self.baseline_loss


@dataclass(frozen=True)
class Slice:
    """Samples with something in common, and the metric over them.

    Args:
        name: what they share, e.g. ``length`` or a column.
        value: which part of it.
        samples: how many.
        changed: how many of them are answered otherwise.
        baseline: the baseline's metric; None where the samples don't decide it.
        candidate: the candidate's.
    """

    name: str
    value: str
    samples: int
    changed: int
    baseline: float | None
    candidate: float | None

    @property
    def difference(self) -> float | None:
        """The candidate's metric minus the baseline's."""
        return None if self.candidate is None or self.baseline is None else self.candidate - self.baseline


@dataclass(frozen=True)
class ErrorReport:
    """Where a candidate parts from its baseline.

    Args:
        recipe: its name.
        baseline: what the candidate is held against, e.g. ``fp32``.
        candidate: what a person calls it.
        metric: the name of the slices' metric.
        against: what the answers were held against: labels, or FP32's own answers.
        total: how many samples there are.
        changed: how many are answered otherwise.
        worse: how many have a greater loss.
        samples: those that are answered otherwise or worse, the greatest growth of the loss first.
        slices: all samples, cut in several ways.
    """

    recipe: str
    baseline: str
    candidate: str
    metric: str
    against: str
    total: int
    changed: int
    worse: int
    samples: Sequence[Sample]
    slices: Sequence[Slice]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        document = asdict(self)
        document["samples"] = [asdict(sample) | {"growth": sample.growth} for sample in self.samples]
        document["slices"] = [asdict(part) | {"difference": part.difference} for part in self.slices]
        return document
