"""What is remembered about a running server: one JSON file a gRPC port, below ``home()/servers``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import psutil

from tritonpack.core.errors import ServerError
from tritonpack.core.home import home

if TYPE_CHECKING:
    from pathlib import Path


TRITON_GRPC_PORT = 8001


@dataclass(frozen=True)
class ServerState:
    """A server that was started.

    Attributes:
        started: the process's start time, seconds since the epoch. A process id is used again some day;
            together with its start time it is not.
        shm_prefix: begins the name of each of its regions in /dev/shm.
        stubs: number of Python processes of each model when the server became ready.
    """

    pid: int
    started: float
    repository: str
    grpc_port: int
    http_port: int
    metrics_port: int
    log: str
    shm_prefix: str
    config_name: str | None = None
    models: list[str] = field(default_factory=list)
    stubs: dict[str, int] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return process_from_state(self) is not None

    @property
    def file(self) -> Path:
        """Where this state is kept."""
        return state_file(self.grpc_port)


def servers_folder() -> Path:
    """The folder of states, logs and backends."""
    return home() / "servers"


def state_file(grpc_port: int) -> Path:
    """The file for a port."""
    return servers_folder() / f"{grpc_port}.json"


def write_state(state: ServerState) -> None:
    """Write the state whole or not at all."""
    temporary = state.file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    temporary.replace(state.file)


def read_states() -> list[ServerState]:
    """Read every state, ordered by port; those of processes that have ended are removed."""
    states = [_state_from_file(file) for file in servers_folder().glob("*.json")]
    alive = [state for state in states if state is not None and state.is_alive]
    return sorted(alive, key=lambda state: state.grpc_port)


def find_state(grpc_port: int | None) -> ServerState:
    """Find the server on a port; without one, the server on Triton's own port, or the only one that runs.

    Raises:
        ServerError: there is none, or there are several and no port was named.
    """
    states = read_states()
    found = [state for state in states if grpc_port in (None, state.grpc_port)]
    if grpc_port is None:
        found = [state for state in states if state.grpc_port == TRITON_GRPC_PORT] or found
    if len(found) == 1:
        return found[0]
    ports = ", ".join(str(state.grpc_port) for state in states)
    if found:
        raise ServerError(
            f"{len(found)} servers run, with gRPC ports {ports}",
            hint=f"say which: --grpc-port {states[0].grpc_port}",
            grpc_ports=[state.grpc_port for state in states],
        )
    where = "" if grpc_port is None else f" on gRPC port {grpc_port}"
    raise ServerError(
        f"no server that tritonpack started runs{where}",
        hint=f"running servers have gRPC ports {ports}" if states else "start one: `tritonpack serve --detach`",
        grpc_ports=[state.grpc_port for state in states],
    )


def process_from_state(state: ServerState) -> psutil.Process | None:
    """Find the process, or None if it has ended or its id belongs to another one now."""
    try:
        process = psutil.Process(state.pid)
        if abs(process.create_time() - state.started) > 1.0 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _state_from_file(file: Path) -> ServerState | None:
    """Read one state; a file of another version or a damaged one says nothing, so it is removed."""
    try:
        state = ServerState(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        file.unlink(missing_ok=True)
        return None
    if not state.is_alive:
        file.unlink(missing_ok=True)
    return state
