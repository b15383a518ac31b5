"""Start a real tritonserver from the wheel on this machine, and stop it.

    server = start(ServerOptions(repository, grpc_port=8001))
    ...
    server.stop()

``start`` returns when every model is ready. A server is remembered below ``home()/servers``, so another
process can find it (`tritonpack status`) and stop it (`tritonpack stop`).
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from tritonpack.core.errors import PortInUseError
from tritonpack.server.options import (
    ADDRESS,
    BACKENDS,
    Served,
    ServerOptions,
    check_repository,
    command_from_options,
    environment_for_server,
)
from tritonpack.server.process import count_stubs, end_process, remove_shared_memory
from tritonpack.server.readiness import wait_until_ready
from tritonpack.server.runtime import ensure_runtime
from tritonpack.server.state import ServerState, process_from_state, servers_folder, write_state
from tritonpack.server.view import find_pipelines, write_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tritonpack.server.runtime import Runtime

__all__ = ["RunningServer", "ServerOptions", "free_ports", "start", "stop"]

_BACKENDS = Path(__file__).with_name("backends")


@dataclass
class RunningServer:
    """A server that is ready; as a context manager it is stopped at the end."""

    state: ServerState

    @property
    def grpc_url(self) -> str:
        """What ``tritonclient.grpc`` takes: ``127.0.0.1:8001``."""
        return f"{ADDRESS}:{self.state.grpc_port}"

    @property
    def http_url(self) -> str:
        """The root of the HTTP endpoint."""
        return f"http://{ADDRESS}:{self.state.http_port}"

    @property
    def metrics_url(self) -> str:
        """Prometheus metrics."""
        return f"http://{ADDRESS}:{self.state.metrics_port}/metrics"

    @property
    def log(self) -> Path:
        """The server's log."""
        return Path(self.state.log)

    def wait(self) -> None:
        """Wait until the process ends."""
        if process := process_from_state(self.state):
            process.wait()

    def stop(self) -> None:
        """Stop the server and remove what it leaves."""
        stop(self.state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(options: ServerOptions, progress: Callable[[str], None] | None = None) -> RunningServer:
    """Start a server and return when every model is ready.

    Args:
        options: what to serve, and where.
        progress: called with one line of text before each slow step.

    Raises:
        ConfigurationError: there is no model to serve.
        PortInUseError: a port is taken.
        ModelLoadError: a model failed to load; the server was stopped.
        ServerError: the runtime can't be installed, or the server ended or wasn't ready in time.
    """
    report = progress or (lambda _: None)
    models = check_repository(options)
    check_ports(options)
    runtime = ensure_runtime(progress)
    served = _served(options, models)
    models = models if served.models is None else list(served.models)
    report(f"loading {len(models)} model{'' if len(models) == 1 else 's'} from {options.repository}")
    state = _spawn(options, served, runtime)
    write_state(state)
    try:
        wait_until_ready(options.http_port, Path(state.log), lambda: state.is_alive, options.startup_timeout_s, models)
    except BaseException:
        stop(state, at_once=True)
        raise
    state = replace(state, models=models, stubs=count_stubs(state))
    write_state(state)
    return RunningServer(state)


def stop(state: ServerState, *, at_once: bool = False) -> None:
    """Stop a server: ask it, wait, and end its process group if it stays; then remove what it leaves.

    Args:
        state: the server.
        at_once: don't ask and wait: nobody's request can be in flight.
    """
    end_process(state, at_once=at_once)
    remove_shared_memory(state.shm_prefix)
    state.file.unlink(missing_ok=True)
    for folder in (_backends_folder(state.grpc_port), _view_folder(state.grpc_port)):
        shutil.rmtree(folder, ignore_errors=True)


def check_ports(options: ServerOptions) -> None:
    """Check that the ports are free and differ.

    Raises:
        PortInUseError: a port is taken, or two options name the same one.
    """
    seen: dict[int, str] = {}
    for option, port in options.ports.items():
        if port in seen:
            raise PortInUseError(
                f"{seen[port]} and {option} are both {port}", hint=f"pass another port: {option} N", port=port
            )
        seen[port] = option
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except OSError as error:
                raise PortInUseError(
                    f"port {port} ({option}) can't be used: {error.strerror}",
                    hint=f"pass another one ({option} N), or stop what uses it (see `tritonpack status`)",
                    port=port,
                    option=option,
                ) from error


def free_ports(count: int = 3) -> list[int]:
    """Find ports that are free now; they are different because all are held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind((ADDRESS, 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


def _backends_folder(grpc_port: int) -> Path:
    return servers_folder() / f"{grpc_port}.backends"


def _view_folder(grpc_port: int) -> Path:
    return servers_folder() / f"{grpc_port}.models"


def _served(options: ServerOptions, models: list[str]) -> Served:
    """Put together what the server reads: the repository itself, where no ensemble is served otherwise than in it."""
    pipelines = find_pipelines(options.repository, options.config_name) if options.one_process else {}
    if not pipelines:
        return Served(options.repository.resolve(), options.models)
    view = _view_folder(options.grpc_port)
    write_view(options.repository, pipelines, view)
    if options.models is not None:
        return Served(view, options.models)
    parts = {part for pipeline in pipelines.values() for part in pipeline.parts}
    return Served(view, tuple(model for model in models if model not in parts))


def _link_backends(runtime: Runtime, folder: Path) -> None:
    """Put together what ``--backend-directory`` takes: the wheel's Python backend and ours."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(runtime.python_backend)
    for name in BACKENDS:
        if (_BACKENDS / name).is_dir():
            (folder / name).symlink_to(_BACKENDS / name)


def _spawn(options: ServerOptions, served: Served, runtime: Runtime) -> ServerState:
    backends = _backends_folder(options.grpc_port)
    _link_backends(runtime, backends)
    shm_prefix = f"tritonpack-{uuid.uuid4().hex[:12]}-"
    log = servers_folder() / f"{options.grpc_port}.log"
    command = command_from_options(options, served, runtime, backends, shm_prefix)
    # A session of its own: Ctrl-C in the terminal reaches tritonpack alone, which then stops the server in
    # order, and what belongs to the server can be ended as one group. posix_spawn rather than Popen, since
    # the server is to outlive the object that started it, which Popen warns of.
    pid = os.posix_spawn(
        command[0],
        command,
        environment_for_server(runtime) | {"TRITONPACK_HTTP_PORT": str(options.http_port)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return ServerState(
        pid=pid,
        started=psutil.Process(pid).create_time(),
        repository=str(options.repository.resolve()),
        grpc_port=options.grpc_port,
        http_port=options.http_port,
        metrics_port=options.metrics_port,
        config_name=options.config_name,
        log=str(log),
        shm_prefix=shm_prefix,
    )
