"""Actions as they go by, on standard error."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from tritonpack.cli.output import stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tritonpack.core.action import Action
    from tritonpack.core.runner import Observer, Step


@contextmanager
def watching(*, quiet: bool) -> Iterator[Observer]:
    """Show what runs, and warnings above it; quiet leaves standard error to warnings and the error."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        console=stderr(),
        transient=True,
        disable=quiet or not stderr().is_terminal,
    )
    with progress, _WarningsOn(progress):
        yield _Watcher(progress, quiet=quiet)


class _Watcher:
    """Shows the running action; with ``--json`` standard error is left to warnings and the error."""

    def __init__(self, progress: Progress, *, quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._rows: dict[Action, Any] = {}

    def started(self, action: Action) -> None:
        self._rows[action] = self._progress.add_task(action.description, total=None)

    def advanced(self, action: Action, done: int, total: int) -> None:
        if action in self._rows:
            self._progress.update(self._rows[action], completed=done, total=total)

    def finished(self, step: Step) -> None:
        row = self._rows.pop(step.action, None)
        if row is not None:
            self._progress.remove_task(row)
        if row is not None and not self._quiet:
            self._progress.console.print(f"  {step.action.description}: {step.record.seconds:.1f} s", style="dim")


class _WarningsOn(logging.Handler):
    """Warnings of the store and the stages go above the progress bar."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.console.print(Text.assemble(("warning: ", "yellow"), record.getMessage()))

    def __enter__(self) -> None:
        logging.getLogger("tritonpack").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tritonpack").removeHandler(self)
