"""What the client says before, or without, a server."""

import subprocess
import sys
import time

import pytest

import tritonpack_client
from tritonpack_client import Client, InvalidInputError, ServerUnavailableError

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8001", "grpc://host:1", "localhost", ""])
def test_a_url_is_host_and_port(url):
    with pytest.raises(InvalidInputError, match="isn't host:port"):
        Client(url)


@pytest.mark.parametrize("arguments", [{"timeout_s": 0}, {"timeout_s": -1}, {"concurrency": 0}])
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(InvalidInputError):
        Client(**arguments)


def test_nobody_there_is_not_ready():
    with Client(NOBODY) as client:
        assert not client.is_ready()
        assert not client.is_ready("minilm")


def test_waiting_ends_in_time():
    started = time.monotonic()
    with (
        Client(NOBODY) as client,
        pytest.raises(ServerUnavailableError, match=r"not ready after 0\.2 s.*minilm"),
    ):
        client.wait_ready(0.2, "minilm")
    assert time.monotonic() - started < 5


def test_a_call_to_nobody_names_the_endpoint():
    with Client(NOBODY) as client, pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:1"):
        client.embed("minilm", ["text"])


def test_public_names_exist_and_the_pipeline_is_not_imported():
    assert all(hasattr(tritonpack_client, name) for name in tritonpack_client.__all__)
    code = "import sys, tritonpack_client; sys.exit(any(m.split('.')[0] == 'tritonpack' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
