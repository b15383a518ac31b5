"""Ask a server how it and its models are, over HTTP, with the standard library alone."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import ModelLoadError, ServerError
from tritonpack.server.options import ADDRESS
from tritonpack.server.triton_log import is_consequence, log_errors, log_tail, reason_for_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_S = 0.05
_TIMEOUT_S = 5.0
# The proxy that a user's environment names is none of this machine's own business.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class ModelState:
    """A model as Triton's repository index has it.

    Attributes:
        state: READY, LOADING, UNLOADING or UNAVAILABLE.
        reason: why it is in this state; for a model that failed to load, Triton's own words.
    """

    name: str
    version: str
    state: str
    reason: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self.state == "READY"


def is_ready(http_port: int) -> bool:
    """Whether the server is up and every model is ready."""
    return _status(f"http://{ADDRESS}:{http_port}/v2/health/ready") == HTTPStatus.OK


def model_states(http_port: int) -> list[ModelState]:
    """List the models of the repository, by name and version.

    Raises:
        ServerError: the server doesn't answer.
    """
    url = f"http://{ADDRESS}:{http_port}/v2/repository/index"
    request = urllib.request.Request(url, data=b"{}", method="POST")
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_S) as response:
            entries: list[dict[str, Any]] = json.load(response)
    except (OSError, ValueError) as error:
        raise ServerError(
            f"the server on HTTP port {http_port} doesn't answer: {error}",
            hint="`tritonpack status` shows the servers that run",
            http_port=http_port,
        ) from error
    states = [
        ModelState(
            entry["name"],
            entry.get("version", ""),
            entry.get("state", "UNAVAILABLE"),
            entry.get("reason", ""),
        )
        for entry in entries
    ]
    return sorted(states, key=lambda state: (state.name, state.version))


def wait_until_ready(
    http_port: int, log: Path, is_running: Callable[[], bool], timeout_s: float, expected: list[str]
) -> list[ModelState]:
    """Wait until every model is ready.

    Args:
        http_port: where to ask.
        log: the server's log, for what it said when it fails.
        is_running: whether the process still runs.
        timeout_s: how long to wait.
        expected: the models that must be there.

    Raises:
        ModelLoadError: a model failed to load.
        ServerError: the process ended, or time is up.
    """
    deadline = time.monotonic() + timeout_s
    # The HTTP endpoint opens when every model has been tried; before that nobody answers.
    while not (answer := _status(f"http://{ADDRESS}:{http_port}/v2/health/live")):
        if not is_running():
            raise _server_failed("the server ended while it started", log)
        if time.monotonic() > deadline:
            raise _server_failed(f"the server wasn't ready after {timeout_s:g} s", log)
        time.sleep(_POLL_S)
    if answer != HTTPStatus.OK:
        raise _server_failed("the server couldn't start", log)
    states = model_states(http_port)
    _check_models(states, log, expected)
    return states


def _check_models(states: list[ModelState], log: Path, expected: list[str]) -> None:
    ready = {state.name for state in states if state.is_ready}
    missing = [name for name in expected if name not in ready]
    if not missing:
        return
    reasons = {state.name: " ".join(state.reason.split()) for state in states}
    reasons = {name: reasons.get(name) or reason_for_model(log, name) for name in missing}
    model = next((name for name, reason in reasons.items() if reason and not is_consequence(reason)), missing[0])
    others = [name for name in missing if name != model]
    raise ModelLoadError(
        f"Triton can't load the model '{model}': {reasons[model] or 'it gives no reason'}",
        hint=f"the server was stopped; its log is {log}",
        model=model,
        reason=reasons[model],
        also_missing=others,
        log=str(log),
    )


def _server_failed(what: str, log: Path) -> ServerError:
    errors = log_errors(log)
    return ServerError(
        f"{what}:\n{errors[-1] if errors else log_tail(log)}", hint=f"its whole log is {log}", log=str(log)
    )


def _status(url: str) -> int:
    """Return the HTTP status, or 0 if nobody answers."""
    try:
        with _OPENER.open(url, timeout=_TIMEOUT_S) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return 0
