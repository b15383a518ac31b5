"""Every cell of the table: built, served, asked and held against `transformers`.

    python tests/conformance/run.py [--cells 'bert_*' --cells '*_answers'] [--work build/conformance]

The table is printed; with every cell in it, it is written to docs/conformance.md. A failed cell makes the exit
code 1. What was built before is found in the store of the work folder.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path

import click
import tritonclient.grpc as triton
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests are no package that is installed

from conformance.builds import BuiltCell, build_cell
from conformance.cells import Cell, cells
from conformance.report import Result, markdown, table
from conformance.serving import serve_cell
from tritonpack.server.embedded import ServerOptions, free_ports, start

ROOT = Path(__file__).parents[2]
_WIDE = 170


class Runner:
    """Serves cells as they come out of the build, on one server that holds one ensemble at a time.

    Args:
        work: models, recipes, store and repository lie below it.
        jobs: processes that build.
        console: progress is written to it.
    """

    def __init__(self, work: Path, jobs: int, console: Console) -> None:
        self.work, self.jobs, self.console = work, jobs, console

    def run(self, chosen: list[Cell]) -> list[Result]:
        """Build, serve and measure; the results stand in the order of the cells."""
        self.work.mkdir(parents=True, exist_ok=True)
        results: dict[str, Result] = {}
        by_name = {cell.name: cell for cell in chosen}
        with ExitStack() as stack:
            workers = stack.enter_context(ThreadPoolExecutor(self.jobs))
            stack.callback(workers.shutdown, cancel_futures=True)
            mine = threading.local()
            client: triton.InferenceServerClient | None = None
            for future in as_completed([workers.submit(_built, cell, self.work, mine) for cell in chosen]):
                built = future.result()
                if not built.error and client is None:
                    client = self._server(stack)
                result = results[built.name] = self._served(client, by_name[built.name], built)
                self._tell(result, len(results), len(chosen))
        return [results[cell.name] for cell in chosen]

    def _server(self, stack: ExitStack) -> triton.InferenceServerClient:
        server = stack.enter_context(start(ServerOptions(self.work / "repository", *free_ports(), models=())))
        return stack.enter_context(triton.InferenceServerClient(server.grpc_url))

    @staticmethod
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

    def _tell(self, result: Result, done: int, of: int) -> None:
        state = f"[red]failed[/]: {result.problem}" if result.problem else "[green]ok[/]"
        loaded = f", loaded {result.served.load_s:.1f} s, asked {result.served.ask_s:.1f} s" if result.served else ""
        self.console.print(
            f"{done:3}/{of} {result.cell.name:28} built {result.built.wall_s:5.1f} s{loaded}  {state}", soft_wrap=True
        )


def _built(cell: Cell, work: Path, mine: threading.local) -> BuiltCell:
    """Build in the thread's own process; one that dies takes only its cell with it."""
    if not hasattr(mine, "process"):
        mine.process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        return mine.process.submit(build_cell, cell, work).result()
    except BrokenProcessPool:
        mine.process.shutdown()
        del mine.process
        return BuiltCell(cell.name, error="the process that built it crashed")


@click.command()
@click.option("--cells", "patterns", multiple=True, help="Names of cells, with * and ?; all if there is none.")
@click.option(
    "--work", type=click.Path(path_type=Path), default=ROOT / "build" / "conformance", show_default="build/conformance"
)
@click.option("--jobs", default=2, show_default=True, help="Processes that build.")
@click.option("--report", type=click.Path(path_type=Path), default=ROOT / "docs" / "conformance.md", hidden=True)
def main(patterns: tuple[str, ...], work: Path, jobs: int, report: Path) -> None:
    """Build, serve and measure every cell."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)  # a table in a log isn't folded
    every = cells()
    chosen = [cell for cell in every if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns)]
    if not chosen:
        raise click.UsageError(f"no cell is called {' or '.join(patterns)}")
    begin = time.perf_counter()
    results = Runner(work, jobs, console).run(chosen)
    seconds = time.perf_counter() - begin
    console.print(table(results, seconds))
    failed = [result for result in results if result.problem]
    for result in failed:
        console.print(f"[red]{result.cell.name}[/]: {result.problem}", soft_wrap=True)
    if len(chosen) == len(every) and not failed:
        report.write_text(markdown(results, seconds), encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
