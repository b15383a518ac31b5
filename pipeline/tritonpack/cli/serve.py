"""`serve`, `stop`, `status`: the embedded server."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonpack.cli.output import json_option, print_json, stderr, stdout, table_from_rows
from tritonpack.core.errors import ServerError
from tritonpack.server.embedded import RunningServer, ServerOptions, start
from tritonpack.server.embedded import stop as stop_server
from tritonpack.server.options import ADDRESS
from tritonpack.server.state import find_state, read_states
from tritonpack.server.status import ServerStatus, server_statuses, status_from_state
from tritonpack.server.triton_log import log_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PORT = click.IntRange(1, 65535)


@click.command()
@click.argument("repository", type=click.Path(path_type=Path), default="model_repository")
@click.option("--grpc-port", type=_PORT, default=8001, show_default=True)
@click.option("--http-port", type=_PORT, default=8000, show_default=True)
@click.option("--metrics-port", type=_PORT, default=8002, show_default=True)
@click.option("--target", metavar="NAME", help="Serve this target's configurations: configs/NAME.pbtxt.")
@click.option("--steps", is_flag=True, help="Serve each step of an ensemble in a process of its own, as containers do.")
@click.option("--detach", is_flag=True, help="Return when the server is ready; `tritonpack stop` ends it.")
@json_option
def serve(
    repository: Path,
    grpc_port: int,
    http_port: int,
    metrics_port: int,
    target: str | None,
    steps: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Serve a model repository with a real tritonserver, without Docker.

    The first call installs the server and its Python environment below tritonpack's home.
    """
    options = ServerOptions(repository, grpc_port, http_port, metrics_port, target, one_process=not steps)
    with _signals_as_interrupt():
        with _progress() as progress:
            server = start(options, progress)
        _print_server(server, as_json=as_json)
        if not detach:
            _serve_until_interrupted(server)


@click.command()
@click.option("--grpc-port", type=_PORT, help="Which server; default: the one on 8001, or the only one.")
@click.option("--all", "all_servers", is_flag=True, help="Stop every server that runs.")
@json_option
def stop(grpc_port: int | None, all_servers: bool, as_json: bool) -> None:
    """Stop a server that `serve` started."""
    states = read_states() if all_servers else [find_state(grpc_port)]
    for state in states:
        stop_server(state)
        if not as_json:
            stdout().print(f"stopped the server on gRPC port {state.grpc_port} (process {state.pid})")
    if as_json:
        print_json({"stopped": [{"grpc_port": state.grpc_port, "pid": state.pid} for state in states]})


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the servers that run and the state of their models."""
    statuses = server_statuses()
    if as_json:
        print_json({"servers": [_document(status) for status in statuses]})
        return
    if not statuses:
        stdout().print("no server runs; start one: `tritonpack serve --detach`")
    for one in statuses:
        _print_status(one)


def _serve_until_interrupted(server: RunningServer) -> None:
    console = stderr()
    try:
        console.print("Ctrl-C stops the server")
        server.wait()
    except KeyboardInterrupt:
        console.print("stopping")
        server.stop()
        return
    # `tritonpack stop` in another terminal takes the state away; a server that died left it.
    died = server.state.file.exists()
    server.stop()
    if died:
        raise ServerError(f"the server ended by itself:\n{log_tail(server.log)}", hint=f"its whole log is {server.log}")


def _print_server(server: RunningServer, *, as_json: bool) -> None:
    status = status_from_state(server.state)
    if as_json:
        print_json(_document(status))
    else:
        _print_status(status)


def _print_status(status: ServerStatus) -> None:
    state = status.state
    rows = [(model.name, model.version, model.state, model.reason) for model in status.models]
    title = f"{'ready' if status.ready else 'NOT READY'}: {state.repository} (process {state.pid})"
    console = stdout()
    console.print(title, markup=False)
    console.print(table_from_rows(None, ("model", ">version", "state", "reason"), rows))
    console.print(f"gRPC     {ADDRESS}:{state.grpc_port}", f"HTTP     http://{ADDRESS}:{state.http_port}", sep="\n")
    console.print(f"metrics  http://{ADDRESS}:{state.metrics_port}/metrics", f"log      {state.log}", sep="\n")


def _document(status: ServerStatus) -> dict[str, Any]:
    state = status.state
    return {
        "ready": status.ready,
        "pid": state.pid,
        "repository": state.repository,
        "target": state.config_name,
        "grpc_url": f"{ADDRESS}:{state.grpc_port}",
        "http_url": f"http://{ADDRESS}:{state.http_port}",
        "metrics_url": f"http://{ADDRESS}:{state.metrics_port}/metrics",
        "log": state.log,
        "models": [asdict(model) for model in status.models],
    }


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    console = stderr()
    if not console.is_terminal:
        yield lambda line: console.print(line, markup=False)
        return
    with console.status("starting") as shown:
        yield shown.update


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, which a process supervisor sends, end the server as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
