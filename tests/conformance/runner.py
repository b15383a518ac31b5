"""Cells built by some processes and served, as they come out, by one server that holds one ensemble at a time."""

from __future__ import annotations

import os
import queue
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

import tritonclient.grpc as triton
from filelock import FileLock

from conformance.builds import TARGETS, BuiltCell, build_cell
from conformance.report import Result
from conformance.serving import serve_cell
from tritonpack.server.embedded import ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.cells import Cell

_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Runner:
    """Builds, serves and measures cells.

    Args:
        work: models, recipes, store and repository lie below it; what is in the store isn't built again.
        jobs: processes that build.
        targets: what is built of every cell; ``cpu`` is served.
        told: called with every result as it comes.
    """

    def __init__(
        self,
        work: Path,
        *,
        jobs: int = 2,
        targets: tuple[str, ...] = tuple(TARGETS),
        told: Callable[[Result], None] = lambda _: None,
    ) -> None:
        self.work, self.jobs, self.targets, self.told = work.resolve(), jobs, targets, told

    def run(self, cells: list[Cell]) -> list[Result]:
        """Every cell's result, in the cells' order; a run in the same folder is waited for."""
        self.work.mkdir(parents=True, exist_ok=True)
        results: dict[str, Result] = {}
        by_name = {cell.name: cell for cell in cells}
        with ExitStack() as stack:
            stack.enter_context(FileLock(self.work / "lock"))
            builders = stack.enter_context(_builders(self.jobs))
            client: triton.InferenceServerClient | None = None
            for future in as_completed([builders(cell, self.work, self.targets) for cell in cells]):
                built = future.result()
                if not built.error and client is None:
                    # Only now: a server takes a folder that holds models.
                    client = self._server(stack)
                results[built.name] = _served(client, by_name[built.name], built)
                self.told(results[built.name])
        return [results[cell.name] for cell in cells]

    def _server(self, stack: ExitStack) -> triton.InferenceServerClient:
        # Cells are loaded as they are built: a view of the repository, as one process needs it, wouldn't show them.
        options = ServerOptions(self.work / "repository", *free_ports(), models=(), one_process=False)
        server = stack.enter_context(start(options))
        return stack.enter_context(triton.InferenceServerClient(server.grpc_url))


@contextmanager
def _builders(jobs: int) -> Iterator[Callable[..., Future[BuiltCell]]]:
    """What builds a cell in one of ``jobs`` processes; one that dies takes only its cell with it."""
    idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
    for name in _POOLS:
        os.environ.setdefault(name, "1")

    def put_new() -> None:
        idle.put(ProcessPoolExecutor(1, mp_context=get_context("spawn")))

    def built(cell: Cell, work: Path, targets: tuple[str, ...]) -> BuiltCell:
        process = idle.get()
        try:
            result = process.submit(build_cell, cell, work, targets).result()
        except BrokenProcessPool:
            process.shutdown()
            put_new()
            return BuiltCell(cell.name, error="the process that built it crashed")
        idle.put(process)
        return result

    for _ in range(jobs):
        put_new()
    threads = ThreadPoolExecutor(jobs)
    try:
        yield lambda *arguments: threads.submit(built, *arguments)
    finally:
        threads.shutdown(cancel_futures=True)
        while not idle.empty():
            idle.get().shutdown()


def _served(client: triton.InferenceServerClient | None, cell: Cell, built: BuiltCell) -> Result:
    if built.error or client is None:
        return Result(cell, built, None, built.error)
    try:
        served = serve_cell(client, cell, built)
    except Exception as error:  # noqa: BLE001  the table shows it, and the other cells go on
        return Result(cell, built, None, f"{type(error).__name__}: {error}")
    problems = served.measured.problems
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Result(cell, built, served, f"{problems[0]}{more}" if problems else "")
