"""What the embedded server does without a process: command line, log, state, runtime."""

from __future__ import annotations

import json
import os
import subprocess

import psutil
import pytest

from tritonpack.core.errors import ConfigurationError, ServerError, UnsupportedError
from tritonpack.server import libpython, runtime
from tritonpack.server.options import (
    Served,
    ServerOptions,
    check_repository,
    command_from_options,
    environment_for_server,
    uses_response_cache,
)
from tritonpack.server.runtime import Runtime, ensure_runtime, requirements_from_file
from tritonpack.server.state import ServerState, find_state, read_states, write_state
from tritonpack.server.triton_log import is_consequence, log_errors, log_tail, reason_for_model

LOG = """\
I1122 04:54:02.727558 9849 cuda_memory_manager.cc:117] "CUDA memory pool disabled"
[libprotobuf ERROR /tmp/build/text_format.cc:337] Error parsing text-format inference.ModelConfig: 1:10: Expected [
E1122 04:54:02.728851 9849 model_repository_manager.cc:1460] "Poll failed for 'a_encoder': failed to read text proto"
E1122 04:54:02.728975 9849 repository.cc:703] "ensemble a contains models that are not available: a_encoder"
+----------+
| a_b      |
E1122 04:54:03.000000 9849 x.cc:1] "failed to load 'b'"
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "servers").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "server.log"
    file.write_text(LOG)
    return file


def state_of(process, grpc_port=8001):
    return ServerState(process.pid, process.create_time(), "/models", grpc_port, 8000, 8002, "/log", "prefix-")


def test_errors_of_the_log_with_the_parsers_detail(log):
    detail = "Error parsing text-format inference.ModelConfig: 1:10: Expected ["
    assert log_errors(log) == [
        f"Poll failed for 'a_encoder': failed to read text proto: {detail}",
        "ensemble a contains models that are not available: a_encoder",
        "failed to load 'b'",
    ]


def test_the_reason_names_the_model_and_not_one_whose_name_begins_alike(log):
    assert reason_for_model(log, "a_encoder").startswith("Poll failed")
    assert reason_for_model(log, "a") == "ensemble a contains models that are not available: a_encoder"
    assert is_consequence(reason_for_model(log, "a"))
    assert reason_for_model(log, "a_enc") == ""


def test_the_logs_tail_leaves_tables_out(log, tmp_path):
    assert log_tail(log, 2).splitlines()[-1].endswith("\"failed to load 'b'\"")
    assert "a_b" not in log_tail(log)
    assert log_tail(tmp_path / "none.log") == "(the log is empty)"


def test_command_line(tmp_path):
    options = ServerOptions(tmp_path, 1, 2, 3, config_name="gpu", arguments=("--grpc-use-ssl=1",))
    command = command_from_options(options, Served(tmp_path, None), Runtime(tmp_path / "r"), tmp_path / "b", "shm-")
    assert command[-1] == "--grpc-use-ssl=1"
    assert command[0] == str(tmp_path / "r/server/pytriton/tritonserver/bin/tritonserver")
    assert {
        f"--model-repository={tmp_path}",
        "--model-control-mode=none",
        "--model-config-name=gpu",
        "--grpc-port=1",
        "--grpc-address=127.0.0.1",
        "--http-port=2",
        "--http-address=127.0.0.1",
        "--metrics-port=3",
        "--metrics-address=127.0.0.1",
        f"--backend-directory={tmp_path / 'b'}",
    } <= set(command)
    assert not [part for part in command if part.startswith("--cache-config")]


def test_named_models_alone_are_loaded_and_others_on_request(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text("")
    assert check_repository(ServerOptions(tmp_path)) == ["one", "two"]
    assert check_repository(ServerOptions(tmp_path, models=())) == []
    options = ServerOptions(tmp_path, models=("two",))
    assert check_repository(options) == ["two"]
    served = Served(tmp_path / "view", ("two",))
    command = command_from_options(options, served, Runtime(tmp_path / "r"), tmp_path / "b", "shm-")
    assert {
        f"--model-repository={tmp_path / 'view'}",
        "--model-control-mode=explicit",
        "--load-model=two",
    } <= set(command)
    with pytest.raises(ConfigurationError, match="has no model twu") as caught:
        check_repository(ServerOptions(tmp_path, models=("twu",)))
    assert "two" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("response_cache { enable: true }", True),
        ("response_cache: {\n  enable: true\n}", True),
        ("response_cache { enable: false }", False),
        ("# response_cache { enable: true }", False),
        ("", False),
    ],
)
def test_the_cache_is_only_made_where_a_model_asks_for_it(tmp_path, text, expected):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.pbtxt").write_text(f'name: "model"\n{text}\n')
    assert uses_response_cache(ServerOptions(tmp_path)) is expected


def test_the_servers_python_sees_its_own_environment_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    environment = environment_for_server(Runtime(tmp_path))
    assert environment["PYTHONPATH"].endswith("site-packages")
    assert "PYTHONHOME" not in environment
    assert environment["PATH"].split(":")[0] == str(tmp_path / "python" / "bin")


def test_a_state_is_found_while_its_process_runs():
    with subprocess.Popen(["sleep", "60"]) as process:
        state = state_of(psutil.Process(process.pid))
        write_state(state)
        assert find_state(None) == find_state(8001) == state
        with pytest.raises(ServerError, match="on gRPC port 9") as caught:
            find_state(9)
        assert "8001" in caught.value.hint
        process.kill()
        process.wait()
    assert read_states() == []
    assert not state.file.exists()


def test_a_reused_process_id_and_a_damaged_file_say_nothing(own_home):
    current = state_of(psutil.Process(os.getpid()))
    write_state(ServerState(**{**current.__dict__, "started": current.started - 60}))
    (own_home / "servers" / "9.json").write_text("{")
    (own_home / "servers" / "10.json").write_text(json.dumps({"pid": 1}))
    assert read_states() == []
    assert list((own_home / "servers").iterdir()) == []


def test_requirements_without_comments(tmp_path):
    (tmp_path / "r.txt").write_text("# why\nnumpy==1.26.4  # below 2\n\n")
    assert requirements_from_file(tmp_path / "r.txt") == ["numpy==1.26.4"]


def test_a_failing_pip_is_quoted_and_nothing_half_made_counts(monkeypatch, own_home):
    def fail(*_):
        runtime._run(["sh", "-c", "echo no network >&2; exit 1"], "pip couldn't install")

    monkeypatch.setattr(runtime, "_pip", fail)
    monkeypatch.setattr(runtime, "find_libpython", lambda: own_home / "libpython.so")
    monkeypatch.setattr(runtime.sys, "executable", "/bin/true")
    lines = []
    with pytest.raises(ServerError, match=r"(?s)pip couldn't install.*no network") as caught:
        ensure_runtime(lines.append)
    assert "pip config list" in caught.value.hint
    assert lines[0] == "making the server's Python environment"
    assert not runtime.runtime_at_home().is_complete


def test_a_missing_libpython_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(libpython, "_folders", lambda _: iter(()))
    with pytest.raises(UnsupportedError, match=r"needs libpython3\.\d+\.so\.1\.0") as caught:
        libpython.find_libpython()
    assert "--enable-shared" in caught.value.hint


def test_this_pythons_libpython_is_found():
    assert libpython.find_libpython().is_file()
