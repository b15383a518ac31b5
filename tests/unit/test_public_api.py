from __future__ import annotations

import inspect

import pytest

import tritonpack


def test_every_public_name_is_there_and_documented():
    for name in tritonpack.__all__:
        value = getattr(tritonpack, name)
        assert inspect.getdoc(value), name


def test_nothing_else_is_public():
    shown = {name for name in vars(tritonpack) if not name.startswith("_")}
    modules = {name for name in shown if inspect.ismodule(getattr(tritonpack, name))}
    standard = {"importlib", "os", "annotations", "TYPE_CHECKING", "Any"}
    assert shown - modules - standard <= set(tritonpack.__all__)
    assert set(tritonpack._HOMES) == set(tritonpack.__all__)


def test_the_names_are_sorted_and_lead_to_one_object():
    from tritonpack.api import build
    from tritonpack.core.errors import TritonpackError

    assert tritonpack.__all__ == sorted(tritonpack.__all__)
    assert tritonpack.build is build
    assert tritonpack.TritonpackError is TritonpackError


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tritonpack' has no attribute 'biuld'"):
        _ = tritonpack.biuld


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert tritonpack.__version__ == version("tritonpack")
