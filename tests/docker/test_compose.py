"""`docker-compose up` on a real engine: an ensemble served by a user who may change nothing."""

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import numpy as np
import pytest
from tiny_repository import embed

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

TEXTS = ["how do I deploy a model", "a", "the cat sat on the mat and looked at the rain", "two words"]


def test_the_ensemble_answers_as_in_process(stack):
    answer = stack.embed(TEXTS)

    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, embed(TEXTS), atol=1e-5)


def test_rows_of_different_length_keep_their_answers_when_they_are_batched(stack):
    texts = TEXTS * 8
    with ThreadPoolExecutor(8) as pool:
        answers = np.concatenate(list(pool.map(stack.embed, [[text] for text in texts])))

    np.testing.assert_allclose(answers, embed(texts), atol=1e-5)


def test_it_is_healthy_and_every_model_is_ready(stack):
    http = HTTPConnection("127.0.0.1", stack.http_port, timeout=10)
    http.request("POST", "/v2/repository/index")
    models = {model["name"]: model["state"] for model in json.load(http.getresponse())}
    http.close()

    assert stack.inspect("{{.State.Health.Status}}") == "healthy"
    assert models == {"tiny": "READY", "tiny_encoder": "READY", "tiny_tokenizer": "READY"}


def test_no_process_is_root(stack):
    users = stack.execute("sh", "-c", "stat -c %u /proc/[0-9]*").stdout.split()

    assert set(users) == {"1000"}


def test_the_repository_cannot_be_written(stack):
    mounts = json.loads(stack.inspect("{{json .Mounts}}"))
    write = stack.execute("touch", "/models/tiny/config.pbtxt", user="root")

    assert [(mount["Destination"], mount["RW"]) for mount in mounts if mount["Type"] == "bind"] == [("/models", False)]
    assert "Read-only file system" in write.stderr


def test_neither_can_the_image(stack):
    write = stack.execute("touch", "/opt/tritonserver/new", user="root")

    assert "Read-only file system" in write.stderr
    assert stack.execute("touch", "/tmp/new").returncode == 0  # noqa: S108  inside the container


def test_it_is_published_on_this_machine_alone(stack):
    ports = json.loads(stack.inspect("{{json .NetworkSettings.Ports}}"))

    assert {binding["HostIp"] for bindings in ports.values() for binding in bindings} == {"127.0.0.1"}


def test_onnx_runtime_reports_to_nobody(stack):
    environments = stack.execute("sh", "-c", "cat /proc/[0-9]*/environ").stdout

    assert environments.count("ORT_DISABLE_TELEMETRY=1") >= 4  # init, the server and a stub of each Python model
    assert "telemetry" not in stack.logs().lower()
