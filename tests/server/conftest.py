"""Real tritonservers for all tests that only send requests; they serve tiny models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tritonclient.grpc as triton

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))

from tiny_client import answer
from tiny_ensemble import write_ensemble, write_pairs, write_plain_models

from tritonpack.server.embedded import ServerOptions, free_ports, start


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory):
    return write_plain_models(write_pairs(write_ensemble(tmp_path_factory.mktemp("models"))))


@pytest.fixture(scope="session", params=["one process", "steps"])
def tiny_server(request, tiny_repository):
    """A server of ensembles in one process each, and their steps' models, which it is asked for; or of steps alone."""
    models = tuple(sorted(file.parent.name for file in tiny_repository.glob("*/config.pbtxt")))
    one = request.param == "one process"
    options = ServerOptions(tiny_repository, *free_ports(), models=models if one else None, one_process=one)
    with start(options) as server:
        yield server


@pytest.fixture(scope="session")
def batching(tiny_server):
    """The model that joins requests to an ensemble."""

    def model(ensemble):
        return f"{ensemble}_encoder" if tiny_server.state.stubs.get(ensemble) is None else ensemble

    return model


@pytest.fixture(scope="session")
def client(tiny_server):
    with triton.InferenceServerClient(tiny_server.grpc_url) as client:
        yield client


@pytest.fixture(scope="session")
def ask(client):
    """Send arrays to a model of the shared server and return its outputs by name."""

    def ask_model(model, outputs=None, **arrays):
        return answer(client, model, outputs, **arrays)

    return ask_model
