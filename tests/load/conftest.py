"""A real Triton for all load tests, and the command line as a person calls it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tritonpack.server.embedded import ServerOptions, free_ports, start

REPOSITORY = Path(__file__).parents[2] / "clients/python/tests/repository"


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    repository = tmp_path_factory.mktemp("server") / "repository"
    shutil.copytree(REPOSITORY, repository)
    grpc, http, metrics = free_ports()
    with start(ServerOptions(repository, grpc, http, metrics)) as server:
        yield server.grpc_url


@pytest.fixture(scope="session")
def tritonpack():
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from tritonpack.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return call
