"""Starting, looking at and stopping real servers, and what goes wrong with them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from click.testing import CliRunner
from tiny_ensemble import embed, write_ensemble
from tritonclient.utils import InferenceServerException

from tritonpack.cli import cli
from tritonpack.core.errors import ConfigurationError, ModelLoadError, PortInUseError, ServerError
from tritonpack.server.embedded import ServerOptions, free_ports, start, stop
from tritonpack.server.runtime import ensure_runtime, runtime_at_home
from tritonpack.server.state import find_state, read_states
from tritonpack.server.status import status_from_state

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A home of its own for each test, with the runtime that is already installed."""
    runtimes = ensure_runtime().root.parent
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "runtime").symlink_to(runtimes)
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path / "home"))


@pytest.fixture
def ensemble(tmp_path):
    return write_ensemble(tmp_path / "models")


def ask(server, text, model="tiny"):
    with triton.InferenceServerClient(server.grpc_url) as client:
        tensor = triton.InferInput("text", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text]], dtype=object))
        return client.infer(model, [tensor], client_timeout=20).as_numpy("embedding")


def stubs_of(server, model):
    children = psutil.Process(server.state.pid).children()
    return [child for child in children if any(f"/{model}/" in part for part in child.cmdline())]


def port_options(ports):
    return [part for name, port in zip(("grpc", "http", "metrics"), ports, strict=True) for part in
            (f"--{name}-port", str(port))]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "models"), [([], ["tiny"]), (["--steps"], ["tiny", "tiny_encoder", "tiny_tokenizer"])]
)
def test_detach_status_stop(ensemble, options, models):
    run, ports = CliRunner().invoke, free_ports()
    command = ["serve", str(ensemble), "--detach", "--json", *options, *port_options(ports)]
    started = run(cli, command, catch_exceptions=False)
    document = json.loads(started.stdout)
    assert document["ready"] is True
    assert document["grpc_url"] == f"127.0.0.1:{ports[0]}"
    assert document["repository"] == str(ensemble)
    assert [(m["name"], m["version"], m["state"]) for m in document["models"]] == [
        (name, "1", "READY") for name in models
    ]
    pid = document["pid"]
    assert psutil.pid_exists(pid)

    shown = json.loads(run(cli, ["status", "--json"], catch_exceptions=False).stdout)
    assert [(s["pid"], s["ready"]) for s in shown["servers"]] == [(pid, True)]
    assert models[-1] in run(cli, ["status"], catch_exceptions=False).stdout

    stopped = run(cli, ["stop", "--grpc-port", str(ports[0]), "--json"], catch_exceptions=False)
    assert json.loads(stopped.stdout) == {"stopped": [{"grpc_port": ports[0], "pid": pid}]}
    assert not psutil.pid_exists(pid)
    assert json.loads(run(cli, ["status", "--json"], catch_exceptions=False).stdout) == {"servers": []}
    with pytest.raises(ServerError, match="no server that tritonpack started runs"):
        run(cli, ["stop"], catch_exceptions=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_server_in_the_foreground(ensemble, number):
    ports = free_ports()
    # A shell starts what runs in its background with SIGINT ignored, and so would the tests be started there.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}; from tritonpack.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", str(ensemble), *port_options(ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "Ctrl-C" in wait_for_line(process.stderr, "Ctrl-C")
        state = find_state(ports[0])
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"gRPC     127.0.0.1:{ports[0]}" in out
    assert not state.is_alive
    assert not state.file.exists()


def wait_for_line(stream, text):
    return next(line for line in stream if text in line)


def test_several_servers_at_once_leave_no_shared_memory(ensemble):
    with (
        start(ServerOptions(ensemble, *free_ports())) as first,
        start(ServerOptions(ensemble, *free_ports())) as second,
    ):
        assert [state.pid for state in read_states()] == [
            s.state.pid for s in sorted((first, second), key=lambda s: s.state.grpc_port)
        ]
        for server, text in ((first, "w1 w2"), (second, "w3")):
            np.testing.assert_allclose(ask(server, text), [embed(text)], rtol=1e-5, atol=1e-6)
        prefixes = (first.state.shm_prefix, second.state.shm_prefix)
        with pytest.raises(ServerError, match="2 servers run") as caught:
            find_state(None)
        assert "--grpc-port" in caught.value.hint
        assert any(Path("/dev/shm").glob(f"{prefixes[0]}*"))  # noqa: S108
    assert not [file for prefix in prefixes for file in Path("/dev/shm").glob(f"{prefix}*")]  # noqa: S108


def test_a_target_has_its_own_configuration(ensemble):
    encoder = ensemble / "tiny_encoder"
    (encoder / "configs").mkdir()
    shutil.copy(encoder / "1" / "cpu.onnx", encoder / "1" / "other.onnx")
    text = (encoder / "config.pbtxt").read_text()
    (encoder / "configs" / "other.pbtxt").write_text(text.replace("cpu.onnx", "other.onnx"))
    (encoder / "1" / "cpu.onnx").unlink()
    with start(ServerOptions(ensemble, *free_ports(), config_name="other")) as server:
        np.testing.assert_allclose(ask(server, "w5"), [embed("w5")], rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigurationError, match="target 'gpu'") as caught:
        start(ServerOptions(ensemble, *free_ports(), config_name="gpu"))
    assert caught.value.hint == "targets built into it: other"


def test_a_server_of_named_models_loads_others_when_asked(ensemble):
    with start(ServerOptions(ensemble, *free_ports(), models=())) as server:
        assert server.state.models == []
        with triton.InferenceServerClient(server.grpc_url) as client:
            with pytest.raises(InferenceServerException, match="unknown model"):
                ask(server, "w5")
            client.load_model("tiny")
            np.testing.assert_allclose(ask(server, "w5"), [embed("w5")], rtol=1e-5, atol=1e-6)
            client.unload_model("tiny", unload_dependents=True)
            deadline = time.monotonic() + 10
            while stubs_of(server, "tiny_encoder") and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not stubs_of(server, "tiny_encoder")


def test_the_response_cache_answers_a_repeated_request(ensemble):
    config = ensemble / "tiny" / "config.pbtxt"
    config.write_text(config.read_text() + "response_cache { enable: true }\n")
    with start(ServerOptions(ensemble, *free_ports())) as server:
        for _ in range(3):
            np.testing.assert_allclose(ask(server, "w7 w8"), [embed("w7 w8")], rtol=1e-5, atol=1e-6)
        with triton.InferenceServerClient(server.grpc_url) as client:
            stats = client.get_inference_statistics("tiny").model_stats[0]
    assert (stats.inference_stats.cache_miss.count, stats.inference_stats.cache_hit.count) == (1, 2)


@pytest.mark.parametrize("option", ["--grpc-port", "--http-port", "--metrics-port"])
def test_a_port_in_use_is_named_with_its_option(ensemble, option):
    ports = dict(zip(("--grpc-port", "--http-port", "--metrics-port"), free_ports(), strict=True))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[option]))
        taken.listen()
        with pytest.raises(PortInUseError) as caught:
            start(ServerOptions(ensemble, *ports.values()))
    assert caught.value.context == {"port": ports[option], "option": option}
    assert f"{option} N" in caught.value.hint


def test_two_options_with_one_port(ensemble):
    port = free_ports(1)[0]
    with pytest.raises(PortInUseError, match=f"--grpc-port and --metrics-port are both {port}"):
        start(ServerOptions(ensemble, port, *free_ports(1), port))


def test_a_missing_and_an_empty_repository(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no model repository at .*nowhere") as caught:
        start(ServerOptions(tmp_path / "nowhere"))
    assert "tritonpack build" in caught.value.hint
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="holds no model"):
        start(ServerOptions(tmp_path / "empty"))


BREAK = {
    "engine file missing": ("tiny_encoder", "1/cpu.onnx", None, "there is no engine file"),
    "engine damaged": ("tiny_encoder", "1/cpu.onnx", "not a model", "INVALID_PROTOBUF"),
    "tokenizer missing": ("tiny_tokenizer", "1/tokenizer.json", None, "there is no tokenizer file"),
    "code broken": ("tiny_tokenizer", "1/stage.py", "import nothing_like_it", "No module named 'nothing_like_it'"),
    "shell broken": ("tiny_tokenizer", "1/model.py", "import nothing_like_it", "No module named 'nothing_like_it'"),
    "stage missing": ("tiny_tokenizer", "1/stage.py", None, "stage"),
    "configuration broken": ("tiny_encoder", "config.pbtxt", "backend: [", "1:10: Expected string, got: ["),
}


# What one process doesn't serve is served in steps, and fails as those do.
STEPS_ALONE = {"shell broken", "configuration broken"}


@pytest.mark.parametrize("one_process", [True, False])
@pytest.mark.parametrize("case", BREAK)
def test_a_model_that_fails_to_load_is_named_with_the_reason(ensemble, case, one_process):
    model, file, content, reason = BREAK[case]
    if content is None:
        (ensemble / model / file).unlink()
    else:
        (ensemble / model / file).write_text(content)
    options = ServerOptions(ensemble, *free_ports(), one_process=one_process)
    with pytest.raises(ModelLoadError) as caught:
        start(options)
    in_one = one_process and case not in STEPS_ALONE
    assert caught.value.context["model"] == ("tiny" if in_one else model)
    assert f"'{model}'" in caught.value.message
    assert reason in caught.value.context["reason"]
    assert read_states() == []
    assert Path(caught.value.context["log"]).is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--cache-config=local,size=1", r"(?s)couldn't start:.*Failed to initialize LocalCache"),
        ("--grpc-port=none", r"(?s)ended while it started:.*grpc-port"),
    ],
)
def test_a_server_that_fails_to_start_shows_its_log(ensemble, monkeypatch, more, message):
    from tritonpack.server import embedded

    command = embedded.command_from_options
    monkeypatch.setattr(embedded, "command_from_options", lambda *given: [*command(*given), more])
    with pytest.raises(ServerError, match=message):
        start(ServerOptions(ensemble, *free_ports()))
    assert read_states() == []


@pytest.mark.parametrize(
    ("one_process", "killed", "others"), [(True, "tiny", []), (False, "tiny_encoder", ["tiny", "tiny_tokenizer"])]
)
def test_a_killed_stub_is_seen_and_the_server_stops_quickly(ensemble, one_process, killed, others):
    server = start(ServerOptions(ensemble, *free_ports(), one_process=one_process))
    try:
        assert server.state.stubs == {name: 1 for name in (killed, *others) if one_process or name != "tiny"}
        [stub] = stubs_of(server, killed)
        stub.kill()
        gone = time.monotonic() + 5
        while stub.is_running() and stub.status() != psutil.STATUS_ZOMBIE and time.monotonic() < gone:
            time.sleep(0.02)
        status = status_from_state(server.state)
        states = {model.name: model.state for model in status.models}
        assert states == {killed: "UNHEALTHY", **dict.fromkeys(others, "READY")}
        assert status.ready is False
        with pytest.raises(InferenceServerException, match=f"Stub process '{killed}_0_0' is not healthy"):
            ask(server, "w1")
    finally:
        begin = time.monotonic()
        server.stop()
    assert time.monotonic() - begin < 5
    assert not server.state.is_alive


def test_a_reused_process_id_is_never_stopped(ensemble):
    server = start(ServerOptions(ensemble, *free_ports()))
    with subprocess.Popen(["sleep", "30"]) as other:
        stale = replace(server.state, pid=other.pid, started=server.state.started - 100)
        assert not stale.is_alive
        stop(stale)
        assert other.poll() is None
        other.kill()
    assert server.state.is_alive
    server.stop()


def test_a_killed_server_is_forgotten(ensemble):
    server = start(ServerOptions(ensemble, *free_ports()))
    os.killpg(server.state.pid, signal.SIGKILL)
    server.wait()
    assert read_states() == []
    server.stop()
    assert not list(Path("/dev/shm").glob(f"{server.state.shm_prefix}*"))  # noqa: S108


def test_the_runtime_is_installed_once():
    lines = []
    runtime = ensure_runtime(lines.append)
    assert lines == []
    assert runtime.is_complete
    assert runtime.root.resolve() == runtime_at_home().root.resolve()
    assert (runtime.python_backend / "triton_python_backend_stub").stat().st_mode & 0o111
