from __future__ import annotations

from pathlib import Path

import pytest

from tritonpack.core.errors import SourceError
from tritonpack.core.resources import path_from_location


def test_a_relative_path_starts_at_the_folder(tmp_path):
    assert path_from_location("models/a", tmp_path) == tmp_path / "models" / "a"
    assert path_from_location("../a", tmp_path / "b") == tmp_path / "a"


def test_an_absolute_path_and_a_home_are_kept(tmp_path):
    assert path_from_location(str(tmp_path), Path("elsewhere")) == tmp_path
    assert path_from_location("~/a", tmp_path) == Path.home() / "a"


def test_a_place_below_tritonpacks_home_is_named_by_its_prefix(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path / "home"))
    assert path_from_location("home:zoo/qa", Path("elsewhere")) == tmp_path / "home" / "zoo" / "qa"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "site" / "weights_of_a_test"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('a package is found, not imported')")
    (folder / "model" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_a_place_in_a_package_is_found_without_importing_it(package, tmp_path):
    assert path_from_location("package:weights_of_a_test/model", tmp_path) == package / "model"
    assert path_from_location("package:weights_of_a_test/model/config.json", tmp_path).is_file()
    assert path_from_location("package:weights_of_a_test", tmp_path) == package


def test_a_place_that_a_package_lacks_lists_what_it_holds(package, tmp_path):
    with pytest.raises(SourceError, match="package 'weights_of_a_test' holds no 'modle'") as error:
        path_from_location("package:weights_of_a_test/modle", tmp_path)
    assert error.value.hint == "It holds: __init__.py, model."
    assert package.exists()


@pytest.mark.parametrize("name", ["no_such_package", "no-such-package", "", "a.b"])
def test_a_package_that_isnt_installed_is_named(tmp_path, name):
    with pytest.raises(SourceError, match="is installed here") as error:
        path_from_location(f"package:{name}/model", tmp_path)
    assert error.value.context["location"] == f"package:{name}/model"


def test_a_module_without_a_folder_holds_nothing(tmp_path):
    with pytest.raises(SourceError, match="no package 'this' is installed here"):
        path_from_location("package:this/model", tmp_path)


def test_no_place_outside_the_package_is_given(package, tmp_path):
    (package.parent / "secret").write_text("")
    with pytest.raises(SourceError, match="holds no"):
        path_from_location("package:weights_of_a_test/../secret", tmp_path)
