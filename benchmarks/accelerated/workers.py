"""A process for each backend: their libraries don't meet, and one that dies takes only its own rows with it."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Self, TypeVar

from accelerated.backends import BACKENDS, RefusedError
from tritonpack.core.errors import TritonpackError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from accelerated.backends import Place, Run
    from tritonpack.core.tensors import Tensors

_Result = TypeVar("_Result")
_OPEN: dict[str, Run] = {}
"""In a backend's process: what runs, by precision."""
_WARM_CALLS, _LEAST_CALLS = 3, 5
_LONGEST_REASON = 300


class FailedError(Exception):
    """What a backend's process said instead of an answer."""


class Worker:
    """A backend in a process of its own; a context manager.

    Args:
        backend: its name in `BACKENDS`.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def open(self, precision: str, place: Place) -> float:
        """Load the model; the seconds that this took.

        Raises:
            FailedError: it isn't run here, with the reason.
        """
        return self._ask(_open, self.backend, precision, place)

    def answers(self, precision: str, inputs: Tensors) -> Tensors:
        """Outputs for some inputs.

        Raises:
            FailedError: it failed.
        """
        return self._ask(_answers, precision, inputs)

    def milliseconds(self, precision: str, inputs: Tensors, seconds: float) -> float:
        """Median milliseconds of a call, repeated for so many seconds.

        Raises:
            FailedError: it failed on this shape.
        """
        return self._ask(_milliseconds, precision, inputs, seconds)

    def _ask(self, function: Callable[..., _Result | str], *arguments: Any) -> _Result:
        try:
            answer = self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise FailedError("its process died") from None
        if isinstance(answer, str):
            raise FailedError(answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()


def _open(backend: str, precision: str, place: Place) -> float | str:
    begin = time.perf_counter()
    try:
        _OPEN[precision] = BACKENDS[backend].open(precision, place)
    except RefusedError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  whatever a vendor's code raises is this row's reason
        return reason(error)
    return time.perf_counter() - begin


def _answers(precision: str, inputs: Tensors) -> Tensors | str:
    try:
        return _OPEN[precision](inputs)
    except Exception as error:  # noqa: BLE001  likewise
        return reason(error)


def _milliseconds(precision: str, inputs: Tensors, seconds: float) -> float | str:
    run, taken = _OPEN[precision], []
    try:
        for _ in range(_WARM_CALLS):
            run(inputs)
        end = time.perf_counter() + seconds
        while len(taken) < _LEAST_CALLS or time.perf_counter() < end:
            begin = time.perf_counter()
            run(inputs)
            taken.append(1000 * (time.perf_counter() - begin))
    except Exception as error:  # noqa: BLE001  likewise
        return reason(error)
    return statistics.median(taken)


def reason(error: Exception) -> str:
    """An error as one line of a table."""
    if isinstance(error, TritonpackError):
        return _shortened(f"{error.message} {error.hint}")
    return _shortened(f"{type(error).__name__}: {error}")


def _shortened(text: str) -> str:
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"
