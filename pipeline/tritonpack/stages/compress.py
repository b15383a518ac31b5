"""Smaller weights: each compression of a recipe leaves a state dict, and all of them make the module to export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.compressions import Lesson, unheard
from tritonpack.core.errors import CompressionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tritonpack.compressions import Compression, CompressionOptions
    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors, TensorSpec

VERSION = 1


def weights_from_compression(
    module: Any,
    teacher: Any,
    compression: Compression,
    options: CompressionOptions,
    batches: Sequence[Tensors],
    inputs: Sequence[str],
    outputs: Sequence[TensorSpec],
    *,
    out: Path,
    progress: Callable[[int, int, float], None] = unheard,
) -> Facts:
    """Compress a module and write its weights as safetensors, each shared one once.

    Args:
        module: the task's module, as earlier compressions left it (`load_compressed`); changed in place.
        teacher: the task's module before any compression; another object.
        compression: the kind of this step.
        options: its fields in the recipe.
        batches: unlabelled rows, inputs by name, padded; empty where the kind needs none.
        inputs: names of the graph's inputs in the order in which the module takes them.
        outputs: the graph's outputs in order.
        out: the file to write.
        progress: told ``(step, steps, loss)``.

    Returns:
        The number of parameters before and after, the share of them that are zero, and what the
        compression says of itself.

    Raises:
        RecipeError: the model has no such part.
        CompressionError: the training failed.
    """
    from safetensors.torch import save_file

    before = _parameters(module)
    module = compression.reshape(module.eval(), options)
    lesson = Lesson(teacher.eval(), batches, inputs, outputs, progress)
    done = compression.train(module, options, lesson)
    weights = _own_weights(module)
    save_file({name: value.contiguous().clone() for name, value in sorted(weights.items())}, out)
    zeros = sum(int((weight == 0).sum()) for weight in module.parameters())
    after = _parameters(module)
    return {"parameters_before": before, "parameters_after": after, "zero_share": zeros / max(after, 1), **done}


def load_compressed(module: Any, steps: Sequence[tuple[Compression, CompressionOptions]], weights: Path | None) -> Any:
    """The module that compressions made.

    Args:
        module: the task's module as it was loaded; changed in place.
        steps: every compression up to the one that wrote ``weights``, in order; none before the first.
        weights: what the last `weights_from_compression` wrote; None before the first.

    Raises:
        CompressionError: the weights aren't those of the reshaped module.
    """
    from safetensors.torch import load_file

    for compression, options in steps:
        module = compression.reshape(module, options)
    if weights is None:
        return module.eval()
    state = load_file(weights)
    expected = {name: tuple(value.shape) for name, value in _own_weights(module).items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise CompressionError(
            f"compressed weights {weights} don't fit the model: {wrong[0]} is {found.get(wrong[0], 'not there')}, "
            f"the model has {expected.get(wrong[0], 'none')}",
            hint="Were they made by these compressions, of this model? Build again.",
        )
    module.load_state_dict(
        state, strict=False
    )  # names of shared weights are missing; the check above is the strict one
    return module.eval()


def _own_weights(module: Any) -> dict[str, Any]:
    """Every parameter and persistent buffer by its first name; a shared one has several."""
    first = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    return {name: value for name, value in module.state_dict().items() if name in first}


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
