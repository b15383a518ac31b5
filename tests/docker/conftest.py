"""A Docker engine, compose, and the CPU profile of docker-compose.yml brought up on them.

Without an engine the tests marked `docker` are skipped, unless TRITONPACK_REQUIRE_DOCKER is set: then they
fail, so that `make test-docker` never passes for having run nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests import no package of their own

from tiny_repository import MODEL, write_repository

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).parents[2]
_READY_TIMEOUT_S = 120
_BUILD_HINT = (
    "No image registry here? `deploy/local-base-image.sh` makes the base image. "
    "pip can't reach an index inside a build? `deploy/fetch-wheels.sh` first. See docs/docker.md."
)


def missing(reason: str) -> NoReturn:
    if os.environ.get("TRITONPACK_REQUIRE_DOCKER"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


@pytest.fixture(scope="session")
def compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if run(*command, "version").returncode == 0:
            return command
    missing("neither `docker compose` nor `docker-compose` is installed")


@pytest.fixture(scope="session")
def engine() -> None:
    done = run("docker", "info", "--format", "{{.ServerVersion}}")
    # Some clients exit with 0 and an empty version when no engine answers.
    if done.returncode or not done.stdout.strip():
        missing(f"no Docker engine answers: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")


@dataclass(frozen=True)
class Stack:
    """A running `triton-cpu`."""

    container: str
    grpc_port: int
    http_port: int
    seconds_to_ready: float

    def embed(self, texts: list[str]) -> np.ndarray:
        """Ask through the Python client, over a connection of its own."""
        from tritonpack_client import Client

        with Client(f"127.0.0.1:{self.grpc_port}") as client:
            return client.embed(MODEL, texts)

    def inspect(self, template: str) -> str:
        return run("docker", "inspect", "--format", template, self.container).stdout.strip()

    def logs(self) -> str:
        done = run("docker", "logs", self.container)
        return done.stdout + done.stderr

    def execute(self, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        return run("docker", "exec", "--user", user, self.container, *command)


@pytest.fixture(scope="module")
def stack(engine, compose_command, tmp_path_factory):  # noqa: ARG001  an engine must answer first
    repository = tmp_path_factory.mktemp("repository")
    write_repository(repository)
    readable_by_everyone(repository)
    http, grpc, metrics = free_ports(3)
    project = f"tritonpack-test-{uuid.uuid4().hex[:8]}"
    env = os.environ | {
        "COMPOSE_PROJECT_NAME": project,
        "MODEL_REPOSITORY": str(repository),
        "HTTP_PORT": str(http),
        "GRPC_PORT": str(grpc),
        "METRICS_PORT": str(metrics),
    }
    try:
        up = run(*compose_command, "up", "--detach", "--build", "triton-cpu", env=env)
        assert up.returncode == 0, f"{up.stdout[-3000:]}\n{up.stderr[-3000:]}\n{_BUILD_HINT}"
        container = run(*compose_command, "ps", "--quiet", "triton-cpu", env=env).stdout.strip()
        yield Stack(container, grpc, http, wait_until_healthy(container))
    finally:
        run(*compose_command, "down", "--volumes", "--remove-orphans", env=env)


def wait_until_healthy(container: str) -> float:
    start = time.monotonic()
    while (seconds := time.monotonic() - start) < _READY_TIMEOUT_S:
        state = run("docker", "inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container)
        if state.stdout.strip() == "running healthy":
            return seconds
        if state.stdout.startswith(("exited", "restarting")):
            break
        time.sleep(0.5)
    logs = run("docker", "logs", "--tail", "80", container)
    pytest.fail(f"the container is '{state.stdout.strip()}' after {seconds:.0f} s:\n{logs.stdout}\n{logs.stderr}")


def readable_by_everyone(repository: Path) -> None:
    """The server is another user; pytest's folders are their owner's alone, up to the one that all share."""
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        found = [held.enter_context(socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]
