"""The server with the models of ``repository/``, and the proxy's control in front of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tritonpack.server import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server and give its ``host:port`` for gRPC; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        # Python writes compiled files beside the models.
        repository = shutil.copytree(HERE / "repository", Path(folder) / "repository")
        grpc, http, metrics = embedded.free_ports()
        with embedded.start(embedded.ServerOptions(repository, grpc, http, metrics)) as server:
            yield server.grpc_url


@contextmanager
def running_control(upstream: str) -> Iterator[str]:
    """Start the proxy in front of a server and give its control's URL; it ends with the block."""
    command = [sys.executable, str(HERE / "proxy.py"), "--upstream", upstream]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101 (both are pipes)
        assert process.stdout is not None  # noqa: S101
        try:
            yield json.loads(process.stdout.readline())["control"]
        finally:
            process.stdin.close()
