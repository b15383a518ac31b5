"""A real Triton that serves the small repository beside this file.

The client itself needs nothing of tritonpack; its tests borrow the embedded server.
"""

import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).with_name("repository")
CONFORMANCE = Path(__file__).parents[2] / "conformance" / "repository"


@pytest.fixture(scope="session")
def server_url(tmp_path_factory):
    """``host:port`` of the gRPC endpoint."""
    embedded = pytest.importorskip("tritonpack.server.embedded", reason="the embedded server comes with tritonpack")
    repository = tmp_path_factory.mktemp("server") / "repository"
    # Python writes compiled files beside the models.
    shutil.copytree(REPOSITORY, repository)
    grpc, http, metrics = embedded.free_ports()
    with embedded.start(embedded.ServerOptions(repository, grpc, http, metrics)) as server:
        yield server.grpc_url


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Starts a server of some of our models with more of Triton's arguments; a context manager."""
    embedded = pytest.importorskip("tritonpack.server.embedded", reason="the embedded server comes with tritonpack")

    def start(*arguments, models=("hash",), ports=None, source=CONFORMANCE):
        repository = tmp_path_factory.mktemp("server") / "repository"
        shutil.copytree(source, repository)
        grpc, http, metrics = ports or embedded.free_ports()
        options = embedded.ServerOptions(repository, grpc, http, metrics, models=models, arguments=arguments)
        return embedded.start(options)

    return start


@pytest.fixture(scope="session")
def tasks_url(start_server):
    """``host:port`` of a server that has a model for every task."""
    models = "hash", "labels", "rerank", "entities", "answers", "masks", "tokens", "words", "echo"
    with start_server(models=models) as server:
        yield server.grpc_url
