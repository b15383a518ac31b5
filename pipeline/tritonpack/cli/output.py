"""What every command prints with: people read tables on the terminal, programs read one JSON document."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tritonpack.core.errors import TritonpackError

_PIPE_WIDTH = 140
"""Columns of a table that is written to a file or a pipe, where nobody can widen the window."""

F = TypeVar("F", bound="Callable[..., Any]")


def json_option(command: F) -> F:
    """Add ``--json`` (parameter ``as_json``): one JSON document on standard output and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")(command)


def stdout() -> Console:
    """The console for results."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def stderr() -> Console:
    """The console for progress, warnings and errors; it never mixes with ``--json``."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


def print_json(document: Any) -> None:
    """Print one document, keys in the order given, paths and other values as text."""
    click.echo(json.dumps(document, indent=2, default=str))


def print_error(error: TritonpackError) -> None:
    """Print the message, and the hint on a line of its own.

    With ``--json`` on the command line the error is a document too, still on standard error.
    """
    if "--json" in sys.argv:
        document = {
            "error": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "context": error.context,
            "exit_code": error.exit_code,
        }
        click.echo(json.dumps(document, indent=2, default=str), err=True)
        return
    stderr().print(Text.assemble(("error: ", "bold red"), error.message))
    if error.hint:
        stderr().print(Text.assemble(("hint:  ", "bold"), error.hint))


def table_from_rows(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A plain table; columns whose name starts with ``>`` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    return table
