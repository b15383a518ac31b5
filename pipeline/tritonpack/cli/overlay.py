"""The option ``--overlay``, which every command has that reads a recipe to build it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def overlay_option(command: F) -> F:
    """Add ``--overlay`` (parameter ``overlays``): files for `tritonpack.recipe.load_recipe`."""
    return click.option(
        "--overlay",
        "overlays",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Lay this file over the recipe, e.g. what `tritonpack tune` wrote; may be repeated.",
    )(command)
