"""An ensemble in one process: the same answers as its steps give, parts on request, new versions by a load."""

from __future__ import annotations

import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import numpy_helper
from tiny_client import answer
from tiny_ensemble import TABLE, embed, ids_of, text_of_words, write_ensemble, write_pairs
from tritonclient.utils import InferenceServerException

from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack.server.status import status_from_state

pytestmark = pytest.mark.server


@pytest.fixture
def models(tmp_path):
    return write_ensemble(tmp_path / "models")


def texts(*rows):
    return np.array([[row] for row in rows], dtype=object)


def ask(server, model="tiny", **arrays):
    with triton.InferenceServerClient(server.grpc_url) as client:
        return answer(client, model, **arrays)


def loaded(server):
    return {model.name: model.state for model in status_from_state(server.state).models}


def test_one_process_and_steps_answer_alike(tmp_path):
    models = write_pairs(write_ensemble(tmp_path / "models"))
    rows = [[text_of_words((seed * 5 + row * 3) % 14, seed) for row in range(seed % 4 + 1)] for seed in range(40)]

    def answers(server):
        def both(row):
            single = ask(server, text=texts(*row))
            return single | {"pairs": ask(server, "pairs", text=texts(*row), text_pair=texts(*row[::-1]))["embedding"]}

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(both, rows))

    with (
        start(ServerOptions(models, *free_ports())) as one,
        start(ServerOptions(models, *free_ports(), one_process=False)) as steps,
    ):
        assert (set(one.state.stubs), len(steps.state.stubs)) == ({"tiny", "pairs"}, 4)
        for found, expected in zip(answers(one), answers(steps), strict=True):
            assert found.keys() == expected.keys() == {"embedding", "pairs"}
            for name, array in expected.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def test_a_steps_model_is_loaded_when_a_client_asks_for_it(models):
    with start(ServerOptions(models, *free_ports())) as server:
        assert loaded(server) == {"tiny": "READY"}
        with pytest.raises(InferenceServerException, match="unknown model"):
            ask(server, "tiny_tokenizer", text=texts("w0"))
        with triton.InferenceServerClient(server.grpc_url) as client:
            client.load_model("tiny_tokenizer")
        assert ask(server, "tiny_tokenizer", text=texts("w0"))["input_ids"].tolist() == [[2, 4, 3]]
        assert loaded(server) == {"tiny": "READY", "tiny_tokenizer": "READY"}


def test_a_step_that_is_named_is_loaded_alone(models):
    with start(ServerOptions(models, *free_ports(), models=("tiny_tokenizer",))) as server:
        assert server.state.models == ["tiny_tokenizer"]
        assert loaded(server) == {"tiny_tokenizer": "READY"}
        assert ask(server, "tiny_tokenizer", text=texts("w0"))["input_ids"].tolist() == [[2, 4, 3]]


def write_version(models, number):
    """A version of the encoder whose table is its number times as large."""
    graph = onnx.load(models / "tiny_encoder" / "1" / "cpu.onnx")
    [table] = [one for one in graph.graph.initializer if one.name == "table"]
    table.CopyFrom(numpy_helper.from_array(TABLE * number, "table"))
    (models / "tiny_encoder" / str(number)).mkdir()
    onnx.save(graph, models / "tiny_encoder" / str(number) / "cpu.onnx")


def latest(models):
    """Let the encoder follow its latest version, as a target does whose file is there."""
    config = models / "tiny_encoder" / "config.pbtxt"
    text = config.read_text()
    begin = text.index("version_policy")
    config.write_text(text[:begin] + text[text.index("input {") :])


def test_a_model_that_is_loaded_again_serves_the_steps_latest_versions(models):
    latest(models)
    with (
        start(ServerOptions(models, *free_ports())) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        write_version(models, 2)
        np.testing.assert_allclose(ask(server, text=texts("w5"))["embedding"], [embed("w5")], rtol=1e-5)
        client.load_model("tiny")
        np.testing.assert_allclose(ask(server, text=texts("w5"))["embedding"], [embed("w5") * 2], rtol=1e-5)


def test_a_pinned_version_stays(models):
    write_version(models, 2)
    with start(ServerOptions(models, *free_ports())) as server:
        np.testing.assert_allclose(ask(server, text=texts("w5"))["embedding"], [embed("w5")], rtol=1e-5)


def test_steps_whose_configuration_changed_arent_loaded_and_what_is_served_stays(models):
    with (
        start(ServerOptions(models, *free_ports())) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        config = models / "tiny_encoder" / "config.pbtxt"
        config.write_text(config.read_text().replace("cpu.onnx", "other.onnx"))
        with pytest.raises(InferenceServerException) as caught:
            client.load_model("tiny")
        assert "step 'tiny_encoder': config.pbtxt has changed since the server started" in caught.value.message()
        np.testing.assert_allclose(ask(server, text=texts("w5"))["embedding"], [embed("w5")], rtol=1e-5)


def test_code_of_another_is_served_as_a_step(models):
    shell = models / "tiny_tokenizer" / "1" / "model.py"
    shell.write_text(shell.read_text() + "\n# changed by hand\n")
    with start(ServerOptions(models, *free_ports())) as server:
        assert loaded(server) == dict.fromkeys(("tiny", "tiny_encoder", "tiny_tokenizer"), "READY")
        np.testing.assert_allclose(ask(server, text=texts("w5"))["embedding"], [embed("w5")], rtol=1e-5)


def test_an_engine_that_fails_is_an_internal_error_of_its_requests(models):
    """Ids that the graph has no row for: the tokenizer's vocabulary is larger than its table."""
    write_smaller_table(models)
    with start(ServerOptions(models, *free_ports())) as server:
        np.testing.assert_allclose(ask(server, text=texts("w0"))["embedding"], [embed("w0")], rtol=1e-5)
        with pytest.raises(InferenceServerException, match=r"ONNX Runtime: .*Gather") as caught:
            ask(server, text=texts("w0", "w50"))
        assert caught.value.status() == "StatusCode.INTERNAL"
        with pytest.raises(InferenceServerException, match="isn't valid UTF-8") as caught:
            ask(server, text=texts(b"\xff"))
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def write_smaller_table(models):
    file = models / "tiny_encoder" / "1" / "cpu.onnx"
    graph = onnx.load(file)
    [table] = [one for one in graph.graph.initializer if one.name == "table"]
    table.CopyFrom(numpy_helper.from_array(TABLE[: max(ids_of("w0")) + 1], "table"))
    onnx.save(graph, file)


def test_the_view_leaves_with_the_server(models, tmp_path, monkeypatch):
    from tritonpack.server.runtime import ensure_runtime

    home = tmp_path / "home"
    home.mkdir()
    (home / "runtime").symlink_to(ensure_runtime().root.parent)
    monkeypatch.setenv("TRITONPACK_HOME", str(home))
    before = sorted(models.rglob("*"))
    with start(ServerOptions(models, *free_ports())) as server:
        view = home / "servers" / f"{server.state.grpc_port}.models"
        assert (view / "tiny" / "1" / "steps.json").is_file()
    assert not view.exists()
    assert sorted(models.rglob("*")) == before


def counters(server):
    with urllib.request.urlopen(server.metrics_url) as response:  # noqa: S310 - this machine's own server
        lines = [line for line in response.read().decode().splitlines() if line.startswith("tritonpack_")]
    pattern = re.compile(r'tritonpack_(\w+)_total\{model="tiny",step="tiny_(\w+)"\} (.*)')
    return {(found[1], found[2]): float(found[3]) for found in map(pattern.fullmatch, lines)}


def test_the_metrics_say_what_each_step_has_done(models):
    """Rows of 2, 3 and 6 tokens in one call, or in parts."""
    with start(ServerOptions(models, *free_ports())) as server:
        before = counters(server).get(("rows", "encoder"), 0)
        ask(server, text=texts("", "w1", "w1 w2 w3 w4"))
        deadline = time.monotonic() + 20
        while counters(server).get(("rows", "encoder"), 0) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        found = counters(server)
    # The warm-up is an empty text.
    assert (found["rows", "encoder"], found["elements", "encoder"]) == (4, 2 + 2 + 3 + 6)
    assert found["elements", "encoder"] <= found["cells", "encoder"] <= 2 + 3 * 6
    assert 2 <= found["calls", "encoder"] <= 4
    assert found["step_seconds", "encoder"] > 0
    assert found["step_seconds", "tokenizer"] > 0
