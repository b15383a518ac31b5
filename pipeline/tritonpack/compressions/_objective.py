"""What a student has to learn: its teacher's answers, and what the teacher's layers return on the way."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tritonpack.compressions._losses import OutputLoss, hidden_loss, mean_square
from tritonpack.core.errors import CompressionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tritonpack.compressions import Lesson
    from tritonpack.compressions._layers import Layers

_CACHE_BYTES = 512 * 1024 * 1024


class _Answers(NamedTuple):
    outputs: tuple[Any, ...]
    hidden: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in (*self.outputs, *self.hidden))


class Objective:
    """The loss of a module on each batch of a lesson.

    Where both models have a list of layers, each of the student's is held against that of the teacher's
    after which as great a share of the model has been passed.

    Args:
        module: the student.
        lesson: the teacher and the rows.
        layers: the student's and the teacher's.
        held: numbers of the held-out batches.
        hidden: weight of the layers' loss; 0: the answers alone.
        temperature: of the distributions that scores stand for.

    Raises:
        CompressionError: the teacher gives the same for every row, nothing at all.
    """

    def __init__(
        self,
        module: Any,
        lesson: Lesson,
        layers: tuple[Layers | None, Layers | None],
        held: Sequence[int],
        hidden: float,
        temperature: float,
    ) -> None:
        self._module, self._lesson, self._held = module, lesson, held
        self._student_blocks, self._teacher_blocks = _paired(*layers) if hidden else ([], [])
        self._hidden = hidden
        self._cache: dict[int, _Answers] = {}
        self._room = _CACHE_BYTES
        self._losses = self._output_losses(temperature)

    def rows(self, number: int) -> int:
        """How many rows a batch has."""
        return len(self._lesson.batches[number][self._lesson.inputs[0]])

    def loss(self, number: int) -> Any:
        """The student's loss on one batch, a scalar with gradients."""
        teacher = self._teacher_answers(number)
        with _returned(self._student_blocks) as hidden:
            outputs = self._run(self._module, number)
        mask = self._mask(number)
        total = sum(
            loss(given, expected, mask)
            for loss, given, expected in zip(self._losses, outputs, teacher.outputs, strict=True)
        )
        if hidden:
            pairs = zip(hidden, teacher.hidden, strict=True)
            total = total + self._hidden * sum(hidden_loss(*pair) for pair in pairs) / len(hidden)
        return total

    def held_out(self) -> float:
        """The mean loss over the rows of the held-out batches."""
        import torch

        with torch.no_grad():
            losses = [float(self.loss(number)) * self.rows(number) for number in self._held]
        return sum(losses) / sum(map(self.rows, self._held))

    def _output_losses(self, temperature: float) -> list[OutputLoss]:
        answers = [(self._teacher_answers(number).outputs, self._mask(number)) for number in self._held]
        scales = [
            mean_square(spec, [(outputs[place], mask) for outputs, mask in answers])
            for place, spec in enumerate(self._lesson.outputs)
        ]
        if not any(scales):
            raise CompressionError(
                "the uncompressed model answers every held-out row with zeros: there is nothing to learn",
                hint="Give rows that the task has an answer for, e.g. texts with a mask token for fill_mask.",
            )
        pairs = zip(self._lesson.outputs, scales, strict=True)
        return [OutputLoss(spec, scale or 1.0, temperature) for spec, scale in pairs]

    def _teacher_answers(self, number: int) -> _Answers:
        import torch

        if number in self._cache:
            return self._cache[number]
        with torch.no_grad(), _returned(self._teacher_blocks) as hidden:
            outputs = self._run(self._lesson.teacher, number)
        answers = _Answers(outputs, tuple(hidden))
        if answers.nbytes <= self._room:
            self._room -= answers.nbytes
            self._cache[number] = answers
        return answers

    def _run(self, module: Any, number: int) -> tuple[Any, ...]:
        import torch

        batch = self._lesson.batches[number]
        outputs = module(*(torch.from_numpy(batch[name]) for name in self._lesson.inputs))
        return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)

    def _mask(self, number: int) -> Any | None:
        import torch

        mask = self._lesson.batches[number].get("attention_mask")
        return None if mask is None else torch.from_numpy(mask)


def _paired(student: Layers | None, teacher: Layers | None) -> tuple[list[Any], list[Any]]:
    """The student's layers and those of the teacher's that they stand for."""
    if student is None or teacher is None:
        return [], []
    few, many = len(student), len(teacher)
    return list(student.blocks), [teacher.blocks[-(-(place + 1) * many // few) - 1] for place in range(few)]


@contextmanager
def _returned(blocks: Sequence[Any]) -> Iterator[list[Any]]:
    """Collect what each block returns, first of several, while the block of code runs."""
    found: list[Any] = []

    def keep(_block: Any, _inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple | list) else output)

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
