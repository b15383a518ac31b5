"""OpenVINO behind the same configuration: the same answers as ONNX Runtime gives, in one process and in steps."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton
from tiny_client import answer
from tiny_ensemble import text_of_words, write_ensemble

from tritonpack.core.errors import ModelLoadError
from tritonpack.server.embedded import ServerOptions, free_ports, start

pytestmark = pytest.mark.server

ROWS = [[text_of_words((seed * 5 + row * 3) % 14, seed) for row in range(seed % 4 + 1)] for seed in range(12)]


@pytest.fixture
def models(tmp_path):
    """An ensemble whose encoder's configuration names OpenVINO."""
    models = write_ensemble(tmp_path / "models")
    changed = [file for file in models.glob("*/config.pbtxt") if 'backend: "onnxruntime"' in file.read_text()]
    assert len(changed) == 1
    changed[0].write_text(changed[0].read_text().replace('backend: "onnxruntime"', 'backend: "openvino"'))
    return models


def answers(server):
    with triton.InferenceServerClient(server.grpc_url) as client:
        return [answer(client, "tiny", text=np.array([[text] for text in row], dtype=object)) for row in ROWS]


@pytest.mark.parametrize("one_process", [True, False])
def test_it_answers_as_onnx_runtime_does(tmp_path, models, one_process):
    with start(ServerOptions(write_ensemble(tmp_path / "reference"), *free_ports())) as server:
        expected = answers(server)
    with start(ServerOptions(models, *free_ports(), one_process=one_process)) as server:
        assert len(server.state.stubs) == (1 if one_process else 2)
        found = answers(server)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one["embedding"], other["embedding"], atol=1e-5)


def test_a_file_that_it_cant_read_fails_the_load_with_its_reason(models):
    for file in models.glob("*/*/*.onnx"):
        file.write_bytes(b"no graph")
    with pytest.raises(ModelLoadError, match="OpenVINO can't open"):
        start(ServerOptions(models, *free_ports()))
