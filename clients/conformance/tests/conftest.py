"""One server for all tests here, and the programs beside this folder as modules."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@pytest.fixture(scope="session")
def server():
    local_server = pytest.importorskip("local_server", reason="the embedded server comes with tritonpack")
    with local_server.running_server() as url:
        yield url
