from __future__ import annotations

import sys

import pytest

from tritonpack.core.errors import ConfigurationError
from tritonpack.core.registry import Registry, did_you_mean


@pytest.fixture
def registry(tmp_path, monkeypatch):
    folder = tmp_path / "shelf_of_fruits"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_shared.py").write_text("raise AssertionError('shared code is no entry')")
    (folder / "banana.py").write_text("FRUIT = 'yellow'")
    (folder / "apple.py").write_text("FRUIT = 'red'")
    (folder / "broken.py").write_text("raise AssertionError('imported too early')")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("shelf_of_fruits", "FRUIT")
    for name in [name for name in sys.modules if name.startswith("shelf_of_fruits")]:
        del sys.modules[name]


def test_names_are_sorted_and_import_nothing(registry):
    assert registry.names() == ["apple", "banana", "broken"]
    assert "shelf_of_fruits.apple" not in sys.modules


def test_an_entry_is_imported_when_it_is_asked_for(registry):
    assert registry.get("apple") == "red"
    assert registry.get("banana") == "yellow"
    assert "shelf_of_fruits.broken" not in sys.modules


def test_all_imports_every_entry(registry, tmp_path):
    (tmp_path / "shelf_of_fruits" / "broken.py").write_text("FRUIT = 'mended'")
    assert registry.all() == {"apple": "red", "banana": "yellow", "broken": "mended"}


def test_an_unknown_name_lists_what_there_is_and_asks_for_the_nearest(registry):
    with pytest.raises(ConfigurationError, match="fruit 'aple' doesn't exist; there are: apple, banana, broken") as e:
        registry.get("aple")
    assert e.value.hint == "Did you mean 'apple'?"
    assert e.value.context == {"field": "fruit", "value": "aple"}


def test_shared_code_cant_be_asked_for(registry):
    with pytest.raises(ConfigurationError, match="fruit '_shared' doesn't exist"):
        registry.get("_shared")


@pytest.mark.parametrize(
    ("word", "question"),
    [("embeding", "Did you mean 'embedding'?"), ("onnx", "Did you mean 'onnxruntime'?"), ("zzz", ""), ("", "")],
)
def test_did_you_mean(word, question):
    assert did_you_mean(word, ["embedding", "onnxruntime"]) == question
