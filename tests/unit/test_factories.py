from __future__ import annotations

import sys

import pytest

from tritonpack.core.errors import SourceError
from tritonpack.core.factories import made_by, source_files

NAME = "factory_of_a_test"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / f"{NAME}.py").write_text(
        "def made(count=1):\n    import part_of_a_test\n    return part_of_a_test.A * count\n"
    )
    (tmp_path / "part_of_a_test.py").write_text("A = 2")
    yield tmp_path
    for name in (NAME, "part_of_a_test"):
        sys.modules.pop(name, None)


def test_a_factory_may_import_what_lies_beside_it_while_it_runs(folder):
    assert made_by(f"{NAME}:made", folder, {"count": 3}, field="x") == 6
    assert str(folder) not in sys.path


def test_what_a_factory_imported_is_read_again(folder):
    assert made_by(f"{NAME}:made", folder, {}, field="x") == 2
    (folder / "part_of_a_test.py").write_text("A = 5  # another length, since the cache looks at size and time")
    assert made_by(f"{NAME}:made", folder, {}, field="x") == 5


def test_packages_of_an_environment_below_the_folder_stay_imported(folder, monkeypatch):
    packages = folder / "environment" / "packages"
    packages.mkdir(parents=True)
    (packages / "installed_of_a_test.py").write_text("A = object()")
    monkeypatch.syspath_prepend(str(packages))
    (folder / f"{NAME}.py").write_text(
        "def made():\n    import installed_of_a_test\n    return installed_of_a_test.A\n"
    )
    assert made_by(f"{NAME}:made", folder, {}, field="x") is made_by(f"{NAME}:made", folder, {}, field="x")
    del sys.modules["installed_of_a_test"]


def test_source_files_are_those_beside_the_module(folder):
    root, files = source_files(f"{NAME}:made", folder, field="x")
    assert (root, [file.name for file in files]) == (folder, [f"{NAME}.py", "part_of_a_test.py"])


def test_the_field_is_named(folder):
    with pytest.raises(SourceError, match="has no 'maid'") as error:
        made_by(f"{NAME}:maid", folder, {}, field="gates.accuracy.dataset.factory")
    assert error.value.hint == "Correct gates.accuracy.dataset.factory."
    with pytest.raises(SourceError, match="there is no module 'nowhere'"):
        source_files("nowhere:made", folder, field="x")
