from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import StoreError
from tritonpack.core.store import Record, Store

KEY = "a" * 64
OTHER = "b" * 64


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, key=KEY, data=b"bytes"):
    with store.scratch() as folder:
        (folder / "artifact").write_bytes(data)
        return store.commit(key, folder / "artifact", {"shape": [1, 2]}, 0.5)


def record_file(store, key=KEY):
    return store.root / "actions" / f"{key}.json"


def overwrite(path, data, mtime_ns=None):
    """Write into a blob as a fault of the disk would."""
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, mtime_ns or stat.st_mtime_ns))


def everything(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_was_committed_is_found_by_a_new_store(store):
    record = put(store)
    assert record == Record(record.digest, 5, record.mtime_ns, {"shape": [1, 2]}, 0.5)
    assert Store(store.root).find(KEY) == record
    assert Store(store.root).read(KEY) == (record, store.blob(record.digest))
    assert store.blob(record.digest).read_bytes() == b"bytes"


def test_what_was_not_committed_is_a_miss_and_makes_no_folder(store):
    assert store.find(KEY) is None
    assert store.read(KEY) is None
    assert not store.root.exists()


def test_equal_artifacts_of_two_actions_share_one_blob(store):
    assert put(store, KEY).digest == put(store, OTHER).digest
    assert len(list((store.root / "blobs").iterdir())) == 1
    store.discard(KEY)
    assert store.find(KEY) is None
    assert store.find(OTHER) is not None


def test_a_blob_cant_be_written_by_accident(store):
    assert store.blob(put(store).digest).stat().st_mode & 0o222 == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "17",
        '{"digest": "x"}',
        '{"digest": 5, "size": 1, "mtime_ns": 1, "facts": {}, "seconds": 1}',
    ],
)
def test_a_record_that_doesnt_read_warns_is_removed_and_is_a_miss(store, caplog, text):
    put(store)
    record_file(store).write_text(text)
    with caplog.at_level(logging.WARNING):
        assert store.find(KEY) is None
    assert caplog.messages == [f"store: the record of action {KEY[:12]} doesn't read; it is removed"]
    assert not record_file(store).exists()
    assert put(store) == store.find(KEY)


FIELDS = st.sampled_from(["digest", "size", "mtime_ns", "facts", "seconds", "x"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3), lambda c: st.dictionaries(FIELDS, c) | st.lists(c), max_leaves=6
)


@given(text=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_record_whatsoever_breaks_the_store(tmp_path_factory, text):
    store = Store(tmp_path_factory.mktemp("any") / "store")
    record_file(store).parent.mkdir(parents=True)
    record_file(store).write_bytes(text)
    assert store.find(KEY) is None


def test_changed_bytes_of_the_same_size_are_found_when_the_file_is_younger(store, caplog):
    record = put(store)
    overwrite(store.blob(record.digest), b"BYTES", record.mtime_ns + 1)
    assert store.find(KEY) is None
    assert caplog.messages == [f"store: blob {record.digest[:12]} isn't what it was; it is removed and made again"]
    assert not store.blob(record.digest).exists()


def test_changed_bytes_under_the_same_time_are_found_when_the_blob_is_read(store, caplog):
    record = put(store)
    overwrite(store.blob(record.digest), b"BYTES", record.mtime_ns)
    assert store.read(KEY) is None
    assert caplog.messages == [f"store: blob {record.digest[:12]} isn't what it was; it is removed and made again"]
    assert store.find(KEY) is None


def test_a_truncated_blob_is_a_miss(store, caplog):
    record = put(store)
    overwrite(store.blob(record.digest), b"byt", record.mtime_ns)
    assert store.find(KEY) is None
    assert "isn't what it was" in caplog.text
    assert put(store) == store.find(KEY)


def test_a_missing_blob_is_a_miss_and_its_record_goes(store):
    store.blob(put(store).digest).unlink()
    assert store.find(KEY) is None
    assert not record_file(store).exists()


def test_a_copied_store_is_believed_after_its_bytes_were_read(store, caplog):
    record = put(store)
    os.utime(store.blob(record.digest), ns=(1, 1))
    assert store.find(KEY) == record
    assert caplog.messages == []


def test_a_damaged_blob_is_replaced_when_the_same_bytes_are_committed_again(store):
    record = put(store)
    overwrite(store.blob(record.digest), b"BYTES", record.mtime_ns)
    put(store, OTHER)
    assert store.read(OTHER) is not None


def test_a_discarded_artifact_leaves_neither_record_nor_blob(store):
    record = put(store)
    store.discard_artifact(KEY)
    assert not record_file(store).exists()
    assert not store.blob(record.digest).exists()
    store.discard_artifact(KEY)  # nothing there any more: nothing to do


def test_scratch_is_gone_after_success_and_after_failure(store):
    with store.scratch() as folder:
        (folder / "big").write_bytes(b"x")
    assert list((store.root / "tmp").iterdir()) == []
    with pytest.raises(IsADirectoryError), store.scratch() as folder:
        folder.write_bytes(b"not a file")
    assert list((store.root / "tmp").iterdir()) == []


def test_the_scratch_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(store, tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tritonpack.core.store import Store\n"
        "with Store(Path(sys.argv[1])).scratch() as folder:\n"
        "    (folder / 'sub').mkdir(); (folder / 'sub' / 'half').write_bytes(b'x')\n"
        "    Path(sys.argv[2]).write_text('there'); time.sleep(60)\n"
    )
    flag = tmp_path / "flag"
    with subprocess.Popen([sys.executable, "-c", code, str(store.root), str(flag)]) as process:
        while not flag.exists():
            assert process.poll() is None
            time.sleep(0.01)
        (left,) = (store.root / "tmp").iterdir()
        with store.scratch():
            assert left.exists()
        process.send_signal(signal.SIGKILL)
    assert (left / "sub" / "half").exists()
    with store.scratch() as mine:
        assert list((store.root / "tmp").iterdir()) == [mine]


SLOW = """
import sys, time
from pathlib import Path
from tritonpack.core.action import Action
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store

def slow(_inputs, out):
    with Path(sys.argv[2]).open("a") as file:
        file.write("ran\\n")
    time.sleep(0.3)
    out.write_bytes(b"slowly")
    return {}

print("ready", flush=True)
sys.stdin.readline()
(step,) = Runner(Store(Path(sys.argv[1]))).run([Action("slow", 1, {}, {}, slow)])
print(step.outcome, step.record.digest)
"""


def test_of_two_processes_at_one_key_one_runs_the_action(store, tmp_path):
    counter = tmp_path / "counter"
    command = [sys.executable, "-c", SLOW, str(store.root), str(counter)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n", "ready\n"]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = sorted(process.communicate(timeout=60)[0].split() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert counter.read_text() == "ran\n"
    assert [outcome for outcome, _ in answers] == ["hit", "ran"]
    assert answers[0][1] == answers[1][1]


FILL = """
import resource, signal, sys
from pathlib import Path
from tritonpack.core.action import Action
from tritonpack.core.errors import StoreError
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store

limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

def write(_inputs, out):
    with out.open("wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 16))
    return {}

try:
    Runner(Store(Path(sys.argv[1]))).run([Action("big", 1, {}, {}, write)])
except StoreError as error:
    print(error.message, "|", error.hint)
    raise SystemExit(error.exit_code)
"""


def fill(store, limit):
    command = [sys.executable, "-c", FILL, str(store.root), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def assert_full_but_intact(store, before, result):
    assert result.returncode == StoreError.exit_code == 5, result.stderr
    assert f"no space left while writing to the store {store.root}: " in result.stdout
    assert "--store. What was stored before is intact." in result.stdout
    after = everything(store.root)
    assert {path: data for path, data in after.items() if path.parts[0] != "locks"} == before
    assert store.read(KEY) is not None


def test_a_limit_on_file_size_stops_the_build_and_leaves_the_store_intact(store):
    put(store)
    before = everything(store.root)
    assert_full_but_intact(store, before, fill(store, 1 << 20))


@contextmanager
def small_disk(folder, options):
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a small disk takes root and CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_build_and_leaves_the_store_intact(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = Store(disk / "store")
        put(store)
        before = everything(store.root)
        assert_full_but_intact(store, before, fill(store, 0))


def test_a_disk_without_room_for_another_file_stops_the_build(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=20") as disk:
        store = Store(disk / "store")
        put(store)
        store.root.joinpath("locks").mkdir()
        before = everything(store.root)
        fillers = []
        try:
            while True:
                fillers.append(disk / f"filler{len(fillers)}")
                fillers[-1].touch()
        except OSError:
            fillers.pop()
        result = fill(store, 0)
        for filler in fillers:
            filler.unlink()
        assert_full_but_intact(store, before, result)


def test_a_store_on_a_read_only_disk_says_so_and_still_answers(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = Store(disk / "store")
        record = put(store)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreError, match="can't be used: Read-only file system") as error, store.scratch():
            pass
        assert error.value.hint == "Give a folder that you may write with --store."
        assert store.find(KEY) == record


def test_a_store_that_may_not_be_written_says_so(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere; the read-only disk above covers it")
    blocked = tmp_path / "blocked"
    blocked.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="can't be used: Permission denied"), Store(blocked / "store").scratch():
        pass


@pytest.mark.parametrize("use", [Store.scratch, lambda store: store.locked(KEY), lambda store: store.find(KEY)])
def test_a_store_that_is_a_file_says_so(tmp_path, use):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the store .*/file can't be used: Not a directory"), ExitStack() as stack:
        stack.enter_context(use(Store(tmp_path / "file")))


def test_a_record_is_plain_json(store):
    record = put(store)
    assert json.loads(record_file(store).read_text()) == asdict(record)
    assert record.digest == digest_of_file(store.blob(record.digest))
    assert Path(store.root / "blobs" / record.digest).is_file()


def test_python_ignores_the_signal_of_the_size_limit():
    """What `a_limit_on_file_size` relies on: the limit is an error and not the end of the process."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] in {
        resource.RLIM_INFINITY,
        resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    }
