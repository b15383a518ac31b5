"""What runs, and how it is: the state of every server and every model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack.core.errors import ServerError
from tritonpack.server.process import count_stubs
from tritonpack.server.readiness import ModelState, is_ready, model_states
from tritonpack.server.state import read_states

if TYPE_CHECKING:
    from tritonpack.server.state import ServerState


@dataclass(frozen=True)
class ServerStatus:
    """A running server and its models.

    Attributes:
        ready: the server is up, every model is ready and no model has lost its Python process.
    """

    state: ServerState
    ready: bool
    models: list[ModelState]


def server_statuses() -> list[ServerStatus]:
    """Ask every server that runs; one that doesn't answer isn't ready and shows no models."""
    return [status_from_state(state) for state in read_states()]


def status_from_state(state: ServerState) -> ServerStatus:
    """Ask one server.

    Models that it was never asked for aren't shown: the steps of an ensemble in one process are among them.

    Triton calls a model ready whose Python process was killed: it finds out with the next request. So the
    processes are counted here, and a model that has fewer than it started with is UNHEALTHY.
    """
    try:
        models = model_states(state.http_port)
    except ServerError:
        return ServerStatus(state, ready=False, models=[])
    stubs = count_stubs(state)
    models = [
        _with_stubs(model, stubs.get(model.name, 0), state.stubs.get(model.name, 0))
        for model in models
        if model.version or model.reason or model.name in state.models
    ]
    ready = is_ready(state.http_port) and all(model.is_ready for model in models if model.name in state.models)
    return ServerStatus(state, ready, models)


def _with_stubs(model: ModelState, alive: int, started: int) -> ModelState:
    if alive >= started or not model.is_ready:
        return model
    reason = f"{started - alive} of {started} Python processes ended; stop the server and start it again"
    return ModelState(model.name, model.version, "UNHEALTHY", reason)
