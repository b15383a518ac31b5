"""The table of cells, for a terminal and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from rich.table import Table

from tritonpack.core.machine import this_machine
from tritonpack.server.runtime import SERVER_WHEEL, requirements_from_file

if TYPE_CHECKING:
    from conformance.builds import BuiltCell
    from conformance.cells import Cell
    from conformance.serving import ServedCell

_RTX = ("rtx_fp32", "rtx_fp16", "rtx_int8")
_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime", "tensorrt-rtx-cu13")
_HEADINGS = (
    "family", "head", "status", "export s", "build s", "ONNX KiB", "RTX KiB fp32/fp16/int8", "rows", "max error",
    "of tolerance", "cosine fp16", "cosine int8", "rows a batch",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Args:
        cell: which.
        built: what the build gave.
        served: what the server answered; None where it wasn't asked.
        problem: what is wrong; empty if nothing is.
    """

    cell: Cell
    built: BuiltCell
    served: ServedCell | None
    problem: str


def table(results: list[Result], seconds: float) -> Table:
    """For a terminal."""
    drawn = Table(title=_summary(results, seconds))
    for number, heading in enumerate(_HEADINGS):
        drawn.add_column(heading, justify="left" if number < 3 else "right", no_wrap=number < 2)
    for result in results:
        drawn.add_row(*_cells(result), style="red" if result.problem else None)
    return drawn


def markdown(results: list[Result], seconds: float) -> str:
    """For the documentation."""
    lines = [
        "# Conformance",
        "",
        "Every model family with every head that it has: a tiny model with random weights goes through the whole",
        "pipeline, Triton serves it, and its answers over gRPC are held against what `transformers` answers for each",
        "text alone (a plain module against itself). Written by `make conformance`; not by hand.",
        "",
        f"{_summary(results, seconds)}.",
        "",
        "- *status*: every served number is within the tolerance of the expected one, every label, span and token is",
        "  the same, every TensorRT-RTX engine compiled, and the dynamic batcher joined requests of different length.",
        "- The reference of questions and answers: `transformers` 5 has the models and the search for spans, but no",
        "  pipeline around them any more; that follows release 4.57, which put XLNet's document before its question.",
        "- *export s*, *build s*: of the export, and of all steps of all four targets together, when they ran.",
        "- *max error*: greatest difference of a served number (ONNX Runtime, FP32) to the expected one;",
        "  *of tolerance*: the same in units of the tolerance, " + _tolerances(results) + ".",
        "- *cosine fp16*, *cosine int8*: least cosine of the graph that is compiled to PyTorch's outputs, run by ONNX",
        "  Runtime. Random weights have no margin for INT8: this shows that the path works, not how good INT8 is.",
        "- *rows a batch*: mean size of the encoder's batches while all texts were sent at once.",
        "",
        f"| {' | '.join(_HEADINGS)} |",
        f"| {' | '.join('---' for _ in _HEADINGS)} |",
        *(f"| {' | '.join(_cells(result))} |" for result in results),
        "",
        f"Machine: {_machine()}. Versions: {_versions()}.",
        "",
    ]
    return "\n".join(lines)


def _summary(results: list[Result], seconds: float) -> str:
    passed = sum(not result.problem for result in results)
    return f"{passed} of {len(results)} cells passed, {seconds / 60:.1f} minutes"


def _tolerances(results: list[Result]) -> str:
    found = sorted({(result.cell.tolerance.absolute, result.cell.tolerance.relative) for result in results})
    return " or ".join(f"{absolute:g} + {relative:g} of the expected number" for absolute, relative in found)


def _cells(result: Result) -> list[str]:
    built, served = result.built, result.served
    row = [result.cell.family, result.cell.head, "failed" if result.problem else "ok"]
    row += [f"{built.export_s:.1f}", f"{built.build_s:.1f}", _kib(built, "cpu")]
    row.append("/".join(_kib(built, target) for target in _RTX))
    if served is None:
        return [*row, "", "", "", "", "", ""]
    measured = served.measured
    return [
        *row,
        str(measured.rows),
        f"{measured.max_error:.1e}",
        f"{measured.worst:.2f}",
        *(f"{built.cosines[name]:.4f}" if name in built.cosines else "" for name in ("rtx_fp16", "rtx_int8")),
        f"{served.rows_per_batch:.1f}",
    ]


def _kib(built: BuiltCell, target: str) -> str:
    return f"{built.kib[target]:.0f}" if target in built.kib else "-"


def _machine() -> str:
    machine = this_machine()
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}, Python {machine.python}; "
        "no GPU is used"
    )


def _versions() -> str:
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    return ", ".join([*packages, *(line.replace("==", " ") for line in requirements_from_file(SERVER_WHEEL))])
