"""Every cell of the table: built, served, asked and held against `transformers`.

    python tests/conformance/run.py [--cells 'bert_*' --cells '*_answers'] [--work build/conformance]

The table is printed; with every cell in it and none failed, it is written to docs/conformance.md. A failed cell
makes the exit code 1. What was built before is found in the store of the work folder.
"""

from __future__ import annotations

import sys
import time
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests are no package that is installed

from conformance.cells import cells
from conformance.report import markdown, table
from conformance.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.report import Result

ROOT = Path(__file__).parents[2]
_WIDE = 170


@click.command()
@click.option("--cells", "patterns", multiple=True, help="Names of cells, with * and ?; all if there is none.")
@click.option("--work", type=click.Path(path_type=Path), default=ROOT / "build" / "conformance", show_default=False)
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
    results = Runner(work, jobs=jobs, told=_teller(console, len(chosen))).run(chosen)
    seconds = time.perf_counter() - begin
    console.print(table(results, seconds))
    failed = [result for result in results if result.problem]
    for result in failed:
        console.print(f"{result.cell.name}: {result.problem}", style="red", soft_wrap=True, markup=False)
    if len(chosen) == len(every) and not failed:
        report.write_text(markdown(results, seconds), encoding="utf-8")
    sys.exit(1 if failed else 0)


def _teller(console: Console, cells_to_come: int) -> Callable[[Result], None]:
    numbers = count(1)

    def tell(result: Result) -> None:
        line = f"{next(numbers):3}/{cells_to_come} {result.cell.name:34} built {result.built.wall_s:5.1f} s"
        if result.served:
            line += f", loaded {result.served.load_s:.1f} s, asked {result.served.ask_s:.1f} s"
        line += f"  failed: {result.problem}" if result.problem else "  ok"
        console.print(line, style="red" if result.problem else None, soft_wrap=True, markup=False, highlight=False)

    return tell


if __name__ == "__main__":
    main()
