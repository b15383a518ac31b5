"""Versions of installed distributions, read without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from tritonpack.core.errors import MissingExtraError


def identity_of(*distributions: str, hint: str) -> str:
    """``name==version`` of each distribution, as part of an action's key.

    Raises:
        MissingExtraError: one isn't installed; ``hint`` says how to get it.
    """
    return " ".join(f"{name}=={version_of(name, hint=hint)}" for name in distributions)


def version_of(distribution: str, *, hint: str) -> str:
    """The installed version of one distribution.

    Raises:
        MissingExtraError: it isn't installed.
    """
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        raise MissingExtraError(f"{distribution} isn't installed", hint=hint, distribution=distribution) from error
