"""The smallest part of a candidate that still fails, as a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ConfigurationError, VerificationError
from tritonpack.core.scopes import module_of
from tritonpack.debugging._difference import Difference, difference_of
from tritonpack.debugging._pair import Pair, run_model

if TYPE_CHECKING:
    from collections.abc import Collection

    from tritonpack.core.tensors import Tensors, Tolerance
    from tritonpack.debugging import Progress
    from tritonpack.debugging.compare import Comparison


@dataclass(frozen=True)
class Reduction:
    """A part that fails by itself.

    Args:
        file: the graph; its inputs named ``<value>.reference`` stand for values of the reference.
        data: beside it, ``.npz``: ``input/<name>``, ``expected/<name>`` and, where some is padding, ``kept/<name>``.
        value: what it computes wrongly.
        modules: the PyTorch modules that its nodes come from.
        nodes: how many nodes of the candidate it holds.
        difference: how far its answer is from the reference's.
    """

    file: Path
    data: Path
    value: str
    modules: tuple[str, ...]
    nodes: int
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "file": str(self.file),
            "data": str(self.data),
            "value": self.value,
            "modules": list(self.modules),
            "nodes": self.nodes,
            "difference": self.difference.to_json(),
        }


def reduction_of(
    reference: Path,
    candidate: Path,
    inputs: Tensors,
    comparison: Comparison,
    out: Path,
    *,
    lengths: Tensors | None = None,
    progress: Progress | None = None,
) -> Reduction:
    """Write the smallest part of the candidate that fails when it reads the reference's values.

    A layer that is out of tolerance by itself is such a part. Where none is, the first value out of tolerance stays
    the part's end, and its beginning moves towards it as long as the part fails: by bisection over the graph's
    order, then value by value.

    Args:
        reference: the graph that is right.
        candidate: the graph in question.
        inputs: the graphs' inputs by name, padded.
        comparison: of these two on these inputs.
        out: the ONNX file to write; its data goes beside it, ``.npz``.
        lengths: as `comparison_of` takes them.
        progress: told how many values can be cut at, and how many of them have been tried.

    Raises:
        ConfigurationError: nothing is out of tolerance.
        VerificationError: what was written doesn't fail when it is run alone.
    """
    end = next(iter(comparison.faulty), comparison.first)
    if end is None:
        raise ConfigurationError(
            f"{candidate.name} has no value out of tolerance, so that no part of it fails",
            hint="Ask for more with --min-cosine, or give another text.",
        )
    with Pair(
        reference,
        candidate,
        inputs,
        lengths=lengths or {},
        tolerance=comparison.tolerance,
        progress=progress or (lambda *_: None),
    ) as pair:
        return _write(pair, end.value, _borders(pair, end.value), out)


def check_reduction(file: Path, tolerance: Tolerance) -> Difference:
    """Run a file that `reduction_of` wrote, alone, and say how far its answer is from what is expected."""
    with np.load(file.with_suffix(".npz"), allow_pickle=False) as arrays, TemporaryDirectory() as folder:
        import onnx

        model = onnx.load(file)
        name = model.graph.output[0].name
        answers = run_model(model, {tensor.name: arrays[f"input/{tensor.name}"] for tensor in model.graph.input},
                            Path(folder))  # fmt: skip
        kept = arrays[f"kept/{name}"] if f"kept/{name}" in arrays.files else None
        return difference_of(arrays[f"expected/{name}"], answers[name], kept, tolerance)


def _borders(pair: Pair, end: str) -> set[str]:
    """Where to cut: the values that are given, so that what is left is small and still fails."""
    everything = set(pair.matched)
    if _fails(pair, end, everything):
        return everything
    sources = pair.candidate.sources(end)
    order = [value for value in pair.matched if value in sources and value != end]
    least, greatest = 0, len(order)  # given so many from the beginning, it fails; given all of them, it doesn't
    while greatest - least > 1:
        middle = (least + greatest) // 2
        pair.progress("bisection", least, len(order))
        if _fails(pair, end, order[:middle]):
            least = middle
        else:
            greatest = middle
    given = set(order[:least])
    for done, value in enumerate(order[least:], least):
        pair.progress("cuts", done, len(order))
        if _fails(pair, end, given | {value}):
            given.add(value)
    return given


def _fails(pair: Pair, end: str, given: Collection[str]) -> bool:
    return bool(_difference(pair, end, given).problem)


def _difference(pair: Pair, end: str, given: Collection[str]) -> Difference:
    try:
        answer = pair.run_part(pair.candidate.part([end], given))
    except Exception as error:  # noqa: BLE001  the runtime's own types; that it can't be computed is a failure too
        return Difference.failed(str(error))
    return pair.difference(end, answer[end])


def _write(pair: Pair, end: str, given: Collection[str], out: Path) -> Reduction:
    """Write the part, its inputs and what is expected, and check both as they lie there."""
    import onnx

    part = pair.candidate.part([end], given)
    expected = pair.expected(end)
    kept = pair.kept(end)
    name = next(iter(part.wanted))
    arrays = part.inputs(pair.inputs, {value: pair.expected(value) for value in part.given.values()})
    data = {f"input/{key}": array for key, array in arrays.items()} | {f"expected/{name}": expected}
    _shape(part.model.graph, {**arrays, name: expected})
    onnx.save(part.model, out)
    with out.with_suffix(".npz").open("wb") as file:
        np.savez(file, **data, **({} if kept is None else {f"kept/{name}": kept}))  # type: ignore[arg-type]  # as above
    nodes = [pair.candidate.nodes[index] for index in pair.candidate.leading_to([end], given)]
    modules = tuple(dict.fromkeys(module for module in map(module_of, nodes) if module))
    try:
        difference = check_reduction(out, pair.tolerance)
    except Exception as error:  # noqa: BLE001  the runtime's own types
        difference = Difference.failed(f"it can't be computed: {error}")
    if not difference.problem:
        raise VerificationError(
            f"{out.name} holds {end}, which is out of tolerance in the graph but not alone",
            hint="The runtime computes it in another way there: compare the whole graphs on another version of it.",
        )
    return Reduction(out, out.with_suffix(".npz"), end, modules, part.nodes, difference)


def _shape(graph: Any, arrays: Tensors) -> None:
    """Write down the types and shapes of inputs and outputs, which a viewer and the checker want."""
    from onnx.helper import make_tensor_value_info, np_dtype_to_tensor_dtype

    for tensor in (*graph.input, *graph.output):
        array = arrays[tensor.name]
        tensor.CopyFrom(make_tensor_value_info(tensor.name, np_dtype_to_tensor_dtype(array.dtype), array.shape))
