"""Functions that a recipe names, ``module:function``, in a module beside the recipe or an installed one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACTORY_PATTERN = r"^[\w.]+:\w+$"
_imported_before: set[str] = set()
"""Modules beside recipes that were imported by an earlier block; the next one reads them again."""


def source_files(factory: str, folder: Path, *, field: str) -> tuple[Path, list[Path]]:
    """The root and every Python file that what the factory returns may come from.

    Of a package all its files; of a module beside the recipe those beside it too, since it may
    import them; of a module installed elsewhere its own. Nothing is imported but the factory's package.

    Args:
        factory: ``module:function``.
        folder: the recipe's folder.
        field: where the recipe names the factory, for errors.

    Raises:
        SourceError: there is no such module.
    """
    module = factory.partition(":")[0]
    top = module.partition(".")[0]
    with _importable(folder):
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            found = False
        spec = importlib.util.find_spec(top) if found else None
    if spec is None:
        raise SourceError(
            f"factory {factory}: there is no module '{module}'",
            hint=f"Install it, or put {top}.py beside the recipe, in {folder}.",
            field=field,
        )
    if spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        return root, sorted(root.rglob("*.py"))
    origin = Path(spec.origin or "")
    return origin.parent, sorted(folder.glob("*.py")) if origin.parent == folder else [origin]


def made_by(factory: str, folder: Path, arguments: Mapping[str, Any], *, field: str) -> Any:
    """Call the factory; the modules beside the recipe can be imported while it runs.

    Args:
        factory: ``module:function``.
        folder: the recipe's folder.
        arguments: by keyword.
        field: where the recipe names the factory, for errors.

    Raises:
        SourceError: the module has no such function.
    """
    module, _, function = factory.partition(":")
    with _importable(folder):
        loaded = importlib.import_module(module)
        try:
            found = getattr(loaded, function)
        except AttributeError as error:
            raise SourceError(f"module {module} has no '{function}'", hint=f"Correct {field}.", field=field) from error
        return found(**arguments)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules beside the recipe be imported, for the length of the block.

    Each block reads their files again: another recipe may have a module of the same name, and what
    was digested has to be what is called.
    """
    for name in _imported_before:
        sys.modules.pop(name, None)
    _imported_before.clear()
    others = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _imported_before.update(name for name in set(sys.modules) - others if _is_beside(name, folder))


def _is_beside(module: str, folder: Path) -> bool:
    """Whether it was found in the folder itself, not e.g. in a virtual environment that lies in it."""
    file = getattr(sys.modules[module], "__file__", None)
    top = module.partition(".")[0]
    return file is not None and any(
        path in {folder / top, folder / f"{top}.py"} for path in (*Path(file).parents, Path(file))
    )
