"""Two graphs on one input: the reference's values on disk, the candidate's held against them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tritonpack.core.errors import ConfigurationError
from tritonpack.debugging._difference import Difference, difference_of
from tritonpack.debugging._graph import Graph
from tritonpack.debugging._padding import Padding
from tritonpack.engines.onnxruntime import ENGINE, ROUNDING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors, Tolerance
    from tritonpack.debugging import Progress
    from tritonpack.debugging._graph import Part

GROUP_BYTES = 2**28
GROUP_LEAST = 16
"""What one run may give: a graph that gives all of its values at once holds them all in memory."""
_POSITION_BYTES = 2**13
"""About what a value of a transformer holds for each number of its inputs."""


class Pair:
    """A reference and a candidate, run on one input; a context, since values lie in a temporary folder.

    Args:
        reference: the graph that is right.
        candidate: the graph in question.
        inputs: the graphs' inputs by name, padded.
        lengths: by ragged axis, ``(batch,) int64``: how long each row really is.
        tolerance: what each value must hold to.
        progress: told of every group of values.

    Raises:
        ConfigurationError: the inputs aren't the graphs', or no value has a name in both.
        CompileError: the runtime refuses the reference.
    """

    def __init__(
        self,
        reference: Path,
        candidate: Path,
        inputs: Tensors,
        *,
        lengths: Tensors,
        tolerance: Tolerance,
        progress: Progress,
    ) -> None:
        self.reference = Graph(reference)
        self.candidate = Graph(candidate)
        self.inputs = inputs
        self.tolerance = tolerance
        self.progress = progress
        for graph in (self.reference, self.candidate):
            _check_inputs(graph, inputs)
        floats = self.reference.floats()
        self.matched = [value for value in floats if value in self.candidate]
        self.unmatched = [value for value in floats if value not in self.candidate]
        if not self.matched:
            raise ConfigurationError(
                f"no value of {reference.name} has a name in {candidate.name}",
                hint="Compare a graph with one that was made from it.",
            )
        self._folder = TemporaryDirectory(prefix="tritonpack-debug-")
        self._files = {value: Path(self._folder.name, f"{n}.npy") for n, value in enumerate(self.matched)}
        try:
            self._record()
            self._padding = Padding(self.reference, inputs, lengths, self._shapes)
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def expected(self, value: str) -> NDArray[Any]:
        """What the reference computed."""
        array: NDArray[Any] = np.load(self._files[value], allow_pickle=False)
        return array

    def difference(self, value: str, array: NDArray[Any]) -> Difference:
        """How far an array is from the reference's value, where there is no padding."""
        return difference_of(self.expected(value), array, self.kept(value), self.tolerance)

    def kept(self, value: str) -> NDArray[np.bool_] | None:
        """What of a value isn't padding, broadcast to its shape; None if all of it counts."""
        return self._padding.kept(value, self.expected(value).shape)

    def totals(self) -> dict[str, Difference]:
        """Of each value, how far the candidate is from the reference by then."""
        return self._differences("candidate", ())

    def own(self) -> dict[str, Difference]:
        """Of each value, what its layer adds by itself: it reads the reference's values, not the candidate's."""
        return self._differences("each layer alone", frozenset(self.matched))

    def run_part(self, part: Part) -> Tensors:
        """Run a part of either graph between the reference's values.

        Raises:
            CompileError: the runtime refuses the part.
            Exception: the runtime's own, where the part can't be run on these values.
        """
        values = {value: self.expected(value) for value in part.given.values()}
        answers = run_model(part.model, part.inputs(self.inputs, values), Path(self._folder.name))
        return {value: answers[name] for name, value in part.wanted.items()}

    def outputs(self) -> dict[str, Difference]:
        """How far each output is apart when nobody looks at what is between, as it is served."""
        expected = self._answers(self.reference)
        try:
            actual = self._answers(self.candidate)
        except Exception as error:  # noqa: BLE001  the runtime's own types; a graph may be wrong in any way
            return dict.fromkeys(expected, Difference.failed(f"it can't be computed: {_first_line(error)}"))
        return {
            name: difference_of(array, actual[name], self._padding.kept(name, array.shape), self.tolerance)
            for name, array in expected.items()
            if name in actual
        }

    def _answers(self, graph: Graph) -> Tensors:
        inputs = {name: self.inputs[name] for name in graph.inputs}
        return ENGINE.open(graph.path).run(inputs)

    def _groups(self) -> Iterator[tuple[int, Sequence[str]]]:
        """The values that one run gives, and how many came before; the larger the input, the fewer."""
        largest = max(array.size for array in self.inputs.values())
        size = max(GROUP_LEAST, GROUP_BYTES // (largest * _POSITION_BYTES))
        for start in range(0, len(self.matched), size):
            yield start, self.matched[start : start + size]

    def _record(self) -> None:
        for done, group in self._groups():
            self.progress("reference", done, len(self.matched))
            for value, array in self.run_part(self.reference.part(group)).items():
                np.save(self._files[value], array, allow_pickle=False)

    def _shapes(self, inputs: Tensors) -> dict[str, tuple[int, ...]]:
        """The shapes of the reference's values for other inputs."""
        shapes: dict[str, tuple[int, ...]] = {}
        for _, group in self._groups():
            part = self.reference.part(group)
            answers = run_model(part.model, part.inputs(inputs, {}), Path(self._folder.name))
            shapes |= {value: answers[name].shape for name, value in part.wanted.items()}
        return shapes

    def _differences(self, doing: str, given: Collection[str]) -> dict[str, Difference]:
        found: dict[str, Difference] = {}
        broken: set[int] = set()
        for done, group in self._groups():
            self.progress(doing, done, len(self.matched))
            self._compare(group, given, broken, found)
        self.progress(doing, len(self.matched), len(self.matched))
        return found

    def _compare(
        self, values: Sequence[str], given: Collection[str], broken: set[int], found: dict[str, Difference]
    ) -> None:
        """Compare values of the candidate; where they can't be computed, half of them at a time."""
        runnable = [value for value in values if broken.isdisjoint(self.candidate.leading_to([value], given))]
        found |= {v: Difference.failed("a value before it can't be computed") for v in values if v not in runnable}
        if not runnable:
            return
        try:
            answers = self.run_part(self.candidate.part(runnable, given))
        except Exception as error:  # noqa: BLE001  the runtime's own types; a graph may be wrong in any way
            if len(runnable) > 1:
                half = len(runnable) // 2
                self._compare(runnable[:half], given, broken, found)
                self._compare(runnable[half:], given, broken, found)
                return
            found[runnable[0]] = Difference.failed(f"it can't be computed: {_first_line(error)}")
            broken.update(self.candidate.leading_to(runnable, given)[-1:])
            return
        found |= {value: self.difference(value, array) for value, array in answers.items()}


def run_model(model: Any, inputs: Tensors, folder: Path) -> Tensors:
    """Run a graph once in ONNX Runtime, rounding as a GPU would; the folder holds its file while it runs."""
    import onnx

    path = folder / "part.onnx"
    onnx.save(model, path)
    try:
        return ROUNDING.open(path).run(inputs)
    finally:
        path.unlink()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_inputs(graph: Graph, inputs: Tensors) -> None:
    missing = [name for name in graph.inputs if name not in inputs]
    if missing:
        raise ConfigurationError(
            f"{graph.path.name} reads {', '.join(missing)}, which the input doesn't hold ({', '.join(inputs)})",
            hint="Compare graphs with the same inputs, before the ragged head is put on.",
        )
