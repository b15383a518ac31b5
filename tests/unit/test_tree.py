from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from tritonpack.core.errors import StoreError
from tritonpack.repository import tree
from tritonpack.repository.tree import locked, put, replacing


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "parent" / "models"
    with replacing(folder) as new:
        put(new / "a" / "1", b"one")
        put(new / "b", b"two")
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def around(folder):
    """What lies beside the folder but its lock."""
    return sorted(path.name for path in folder.parent.iterdir() if not path.name.endswith(".lock"))


def test_a_folder_that_isnt_there_is_made(folder):
    assert contents(folder) == {"a/1": b"one", "b": b"two"}
    assert around(folder) == ["models"]


def test_what_isnt_touched_stays_the_same_file(folder):
    before = (folder / "b").stat().st_ino
    with replacing(folder) as new:
        put(new / "a" / "1", b"uno")
        (new / "c").mkdir()
    assert contents(folder) == {"a/1": b"uno", "b": b"two"}
    assert (folder / "c").is_dir()
    assert (folder / "b").stat().st_ino == before
    assert around(folder) == ["models"]


def test_a_file_that_a_reader_holds_open_keeps_its_bytes(folder):
    with (folder / "a" / "1").open("rb") as reader:
        with replacing(folder) as new:
            put(new / "a" / "1", b"uno")
        assert reader.read() == b"one"


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_tree(folder, failure):
    before = contents(folder)
    with pytest.raises(failure), replacing(folder) as new:  # noqa: PT012  what happens before the failure matters
        put(new / "a" / "1", b"uno")
        (new / "b").unlink()
        raise failure
    assert contents(folder) == before
    assert around(folder) == ["models"]


def test_a_failure_on_the_first_write_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "new") as new:  # noqa: PT012
        put(new / "a", b"x")
        raise ZeroDivisionError
    assert around(tmp_path / "new") == []


@pytest.mark.parametrize("pid", [1, os.getpid()])
def test_the_leftovers_of_killed_builds_are_removed(folder, pid):
    for name in (f".models.{pid}.new", f".models.{pid}.old"):
        (folder.parent / name / "deep").mkdir(parents=True)
    (folder.parent / ".models.note").write_text("not a leftover")
    with replacing(folder):
        pass
    assert around(folder) == [".models.note", "models"]


def test_a_folder_that_was_set_aside_when_a_build_was_killed_comes_back(folder):
    before = contents(folder)
    folder.rename(folder.parent / ".models.1.old")
    with replacing(folder) as new:
        assert contents(new) == before


def test_without_the_exchange_call_the_names_change_in_two_steps(folder, monkeypatch):
    monkeypatch.setattr(tree, "_RENAME_EXCHANGE", 0xFFFF)  # the kernel refuses unknown flags
    with replacing(folder) as new:
        put(new / "b", b"due")
    assert contents(folder) == {"a/1": b"one", "b": b"due"}
    assert around(folder) == ["models"]


def test_a_reader_never_sees_a_mixture(folder):
    """Of two files that always change together, a folder that was opened once has two equal ones."""
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            opened = os.open(folder, os.O_RDONLY)
            try:
                pair = []
                for name in ("x", "y"):
                    file = os.open(name, os.O_RDONLY, dir_fd=opened)
                    pair.append(os.read(file, 10))
                    os.close(file)
                seen.add(tuple(pair))
            except FileNotFoundError:
                pass  # the old tree was removed while it was read; a name that resolves anew is whole again
            finally:
                os.close(opened)

    with replacing(folder) as new:
        put(new / "x", b"0")
        put(new / "y", b"0")
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 30):
        with replacing(folder) as new:
            put(new / "x", str(number).encode())
            put(new / "y", str(number).encode())
    stop.set()
    reader.join()
    assert seen
    assert all(x == y for x, y in seen)


WRITER = """
import sys
from pathlib import Path
from tritonpack.repository.tree import put, replacing
folder = Path(sys.argv[1])
for _ in range(20):
    with replacing(folder) as new:
        count = int((folder / "count").read_text())
        put(new / "count", str(count + 1).encode())
"""


def test_two_processes_that_write_at_once_lose_nothing(folder):
    with replacing(folder) as new:
        put(new / "count", b"0")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(folder)]) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert (folder / "count").read_bytes() == b"40"
    assert around(folder) == ["models"]


def test_a_lock_holds_another_writer_and_not_its_owner(folder):
    code = "import sys, pathlib, tritonpack.repository.tree as t\nwith t.locked(pathlib.Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", code, str(folder)]
    with locked(folder), replacing(folder) as new:
        other = subprocess.Popen(command)
        put(new / "b", b"due")
        time.sleep(0.4)
        assert other.poll() is None
    assert other.wait(60) == 0
    assert (folder / "b").read_bytes() == b"due"


def test_put_copies_a_file_and_makes_it_readable(tmp_path):
    source = tmp_path / "blob"
    source.write_bytes(b"x")
    source.chmod(0o400)
    put(tmp_path / "deep" / "copy", source)
    assert (tmp_path / "deep" / "copy").read_bytes() == b"x"
    assert (tmp_path / "deep" / "copy").stat().st_mode & 0o777 == 0o644


FULL = """
import resource, sys
from pathlib import Path
from tritonpack.core.errors import StoreError
from tritonpack.repository.tree import put, replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with replacing(Path(sys.argv[1])) as new:
        put(new / "b", b"due")
        put(new / "big", bytes(2000))
except StoreError as error:
    print(error.message, "|", error.hint)
    raise SystemExit(error.exit_code)
"""


def test_a_full_disk_is_a_clear_error_and_leaves_the_old_tree(folder):
    before = contents(folder)
    result = subprocess.run([sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True, check=False)
    assert result.returncode == StoreError.exit_code, result.stderr
    assert "can't be written: File too large; it is as it was before | Free some space" in result.stdout
    assert contents(folder) == before
    assert around(folder) == ["models"]


@pytest.mark.parametrize("below", ["", "models"])
def test_a_repository_that_is_a_file_is_a_clear_error(tmp_path, below):
    (tmp_path / "file").write_text("precious")
    with (
        pytest.raises(StoreError, match=r"can't be written: (Not a directory|File exists)"),
        replacing(tmp_path / "file" / below),
    ):
        pass
    assert (tmp_path / "file").read_text() == "precious"


def test_a_folder_that_is_a_mount_point_is_changed_in_place(tmp_path):
    behind, folder = tmp_path / "behind", tmp_path / "mounted"
    (behind / "model").mkdir(parents=True)
    (behind / "model" / "config").write_text("old")
    (behind / "manifest").write_text("old")
    folder.mkdir()
    mounted = subprocess.run(["mount", "--bind", str(behind), str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting needs root: " + mounted.stderr.decode().strip())
    try:
        with replacing(folder) as tree:
            put(tree / "model" / "config", b"new")
            put(tree / "other" / "config", b"new")
            assert (folder / "model" / "config").read_text() == "old"
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert (behind / "model" / "config").read_text() == "new"
    assert (behind / "other" / "config").read_text() == "new"
    assert (behind / "manifest").read_text() == "old"
    assert not list(behind.glob(".*.new"))
