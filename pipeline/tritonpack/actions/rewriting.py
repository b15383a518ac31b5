"""One precision of the model for one target: what it reads, what steers it, and what holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.actions.model import BUILD_HINT, ModelActions
from tritonpack.core.versions import identity_of
from tritonpack.precisions import PRECISIONS, Data, Precision, Rewriting

if TYPE_CHECKING:
    from tritonpack.core.action import Action
    from tritonpack.core.tensors import Tolerance
    from tritonpack.recipe import TargetSpec


class RewritingActions:
    """How the exported graph becomes one precision.

    Args:
        model: what all targets share.
        target: the target's name.
        name: the precision, one of those that the target allows.
    """

    def __init__(self, model: ModelActions, target: str, name: str) -> None:
        self.model = model
        self.target = target
        self.spec: TargetSpec = model.recipe.targets[target]
        self.name = name
        self.precision: Precision = PRECISIONS.get(name)
        self.gate: Tolerance = model.recipe.tolerance(target, name)

    @property
    def how(self) -> Rewriting:
        """What steers the rewrite, apart from what is observed and searched."""
        modules = self.model.family.fp32_modules
        if self.precision.data is not Data.NEEDED:
            return Rewriting(fp32_modules=modules)
        chosen = self.spec.quantization
        return Rewriting(fp32_modules=modules, calibrator=chosen.calibrator, smoothing=chosen.smoothing)

    @property
    def parameters(self) -> dict[str, Any]:
        """The same, as part of a key."""
        how = self.how
        return {
            "precision": self.name,
            "precision_version": self.precision.version,
            "fp32_modules": list(how.fp32_modules),
            "calibrator": how.calibrator,
            "smoothing": how.smoothing,
        }

    @property
    def inputs(self) -> dict[str, Action | str]:
        """What every rewrite reads: the graph, and what was observed where the precision uses it."""
        uses = self.precision.data is not Data.UNUSED
        return {"onnx": self.model.exported, **({"observations": self.model.observations} if uses else {})}

    @property
    def identity(self) -> str:
        """Versions that decide a rewrite."""
        return identity_of(*self.precision.packages, hint=BUILD_HINT)

    @property
    def is_searched(self) -> bool:
        """Whether the layers that are rewritten are searched."""
        return self.precision.searchable and self.spec.quantization.layers == "search"

    @property
    def judged_by(self) -> Action:
        """What a candidate is held against: for INT8 real rows, where there are some; random ones say little of it."""
        probe = self.model.probe
        return probe if self.precision.searchable and probe is not None else self.model.reference
