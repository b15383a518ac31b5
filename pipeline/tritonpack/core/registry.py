"""A registry is a folder: each public module in it holds one object, and its file name is the object's name."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from typing import Generic, TypeVar, cast

from tritonpack.core.errors import ConfigurationError

T = TypeVar("T")


class Registry(Generic[T]):
    """The objects that the modules of one package define.

    Args:
        package: dotted name of the folder, e.g. ``tritonpack.tasks``.
        attribute: the name under which every module of the folder holds its object, e.g. ``TASK``.

    Modules whose name starts with an underscore are shared code, not entries.
    """

    def __init__(self, package: str, attribute: str) -> None:
        self.package = package
        self.attribute = attribute

    def names(self) -> list[str]:
        """Every entry, in alphabetical order; imports none of them."""
        folder = importlib.import_module(self.package)
        modules = pkgutil.iter_modules(folder.__path__)
        return sorted(module.name for module in modules if not module.name.startswith("_"))

    def check(self, name: str) -> str:
        """Return ``name`` if it is an entry.

        Raises:
            ConfigurationError: it isn't; the message names what is there, the hint the nearest.
        """
        names = self.names()
        if name not in names:
            noun = self.attribute.lower()
            raise ConfigurationError(
                f"{noun} '{name}' doesn't exist; there are: {', '.join(names)}",
                hint=did_you_mean(name, names),
                field=noun,
                value=name,
            )
        return name

    def get(self, name: str) -> T:
        """Import and return one entry.

        Raises:
            ConfigurationError: there is no such entry.
        """
        module = importlib.import_module(f"{self.package}.{self.check(name)}")
        return cast("T", getattr(module, self.attribute))

    def all(self) -> dict[str, T]:
        """Import and return every entry by name."""
        return {name: self.get(name) for name in self.names()}


def did_you_mean(word: str, candidates: list[str]) -> str:
    """A question with the nearest candidate, or an empty string when none is near."""
    near = get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f"Did you mean '{near[0]}'?" if near else ""
