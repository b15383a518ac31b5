"""How far a student's answers are from its teacher's, by what each output means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.core.tensors import TensorSpec

_VECTOR, _PLACES = "dimension", "sequence"
_NEVER = -1e4
"""The score of a place that is padding."""


@dataclass(frozen=True)
class OutputLoss:
    """The loss of one output.

    Vectors (the last axis is called ``dimension``) are compared by direction and by length; scores as
    distributions, softened by the temperature (Hinton et al., 2015), and by value, since sigmoids and
    regressions read values; single numbers by value. Padded places count nowhere.

    Args:
        spec: the output; its axes say what it means.
        scale: mean square of the teacher's values, so that every loss is relative.
        temperature: of the distributions.

    Source: https://arxiv.org/abs/1503.02531
    """

    spec: TensorSpec
    scale: float
    temperature: float

    def __call__(self, student: Any, teacher: Any, mask: Any | None) -> Any:
        """A scalar.

        Args:
            student: as `spec` says.
            teacher: the same.
            mask: ``(batch, sequence)``, 0 where a row is padded, or None.
        """
        weights = _weights(self.spec, teacher, mask)
        if self.spec.shape[-1] == _PLACES and mask is not None:
            student, teacher = (values.masked_fill(mask == 0, _NEVER) for values in (student, teacher))
        values = _mean((student - teacher).square(), weights) / self.scale
        if self.spec.shape[-1] == 1:
            return values
        compare = _turned if self.spec.shape[-1] == _VECTOR else self._diverged
        return values + _mean(compare(student, teacher), weights.amax(dim=-1))

    def _diverged(self, student: Any, teacher: Any) -> Any:
        from torch.nn import functional

        logs = functional.log_softmax(student / self.temperature, dim=-1)
        expected = functional.log_softmax(teacher / self.temperature, dim=-1)
        apart = functional.kl_div(logs, expected, reduction="none", log_target=True)
        return self.temperature**2 * apart.sum(dim=-1)


def mean_square(spec: TensorSpec, answers: Sequence[tuple[Any, Any | None]]) -> float:
    """Of an output over several batches, without padded places.

    Args:
        spec: the output.
        answers: its values and the mask, batch by batch.
    """
    total = count = 0.0
    for values, mask in answers:
        weights = _weights(spec, values, mask)
        total += float((values.square() * weights).sum())
        count += float(weights.sum())
    return total / max(count, 1.0)


def hidden_loss(student: Any, teacher: Any) -> Any:
    """Relative squared error of two layers' vectors ``(..., d)``."""
    return (student - teacher).square().mean() / teacher.square().mean().clamp(min=1e-12)


def _weights(spec: TensorSpec, values: Any, mask: Any | None) -> Any:
    """1 for what counts and 0 for padding, of the shape of ``values``."""
    if mask is None or _PLACES not in spec.shape:
        return values.new_ones(values.shape)
    axis = spec.shape.index(_PLACES)
    shape = [size if place in (0, axis) else 1 for place, size in enumerate(values.shape)]
    return mask.to(values.dtype).reshape(shape).expand(values.shape)


def _turned(student: Any, teacher: Any) -> Any:
    from torch.nn import functional

    return 1 - functional.cosine_similarity(student, teacher, dim=-1)


def _mean(values: Any, weights: Any) -> Any:
    return (values * weights).sum() / weights.sum().clamp(min=1)
