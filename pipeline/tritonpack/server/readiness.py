"""Ask a server how it and its models are, over HTTP, with the standard library alone."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import ModelLoadError, ServerError
from tritonpack.server.options import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG_LINES = 15
_POLL_S = 0.05
_TIMEOUT_S = 5.0
# The proxy that a user's environment names is none of this machine's own business.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_FAILED = re.compile(r"[Ff]ailed to load '(?P<model>[^']+)'(?: version \d+)?:\s*(?P<reason>.*)")
_CONFIG = re.compile(r"^E\d{4} [^\]]*\] \"?(?P<reason>.*\b(?:config|configuration|model)\b.*?)\"?$", re.MULTILINE)


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
    # The HTTP endpoint opens when every model has been tried.
    while _status(f"http://{ADDRESS}:{http_port}/v2/health/live") != HTTPStatus.OK:
        if not is_running():
            _raise_from_log(log)
        if time.monotonic() > deadline:
            raise ServerError(
                f"the server wasn't ready after {timeout_s:g} s",
                hint=f"its log is {log}; its last lines:\n{log_tail(log)}",
                log=str(log),
            )
        time.sleep(_POLL_S)
    states = model_states(http_port)
    _check_models(states, log, expected)
    return states


def _check_models(states: list[ModelState], log: Path, expected: list[str]) -> None:
    ready = {state.name for state in states if state.is_ready}
    missing = [name for name in expected if name not in ready]
    if not missing:
        return
    reasons = {state.name: state.reason for state in states if state.reason}
    # An ensemble fails because a step of it failed; that step is the one to name.
    reasons = {name: _innermost(reason) for name, reason in reasons.items() if name in missing}
    causes = [name for name in missing if name in reasons and "depends on" not in reasons[name]]
    model = (causes or missing)[0]
    reason = reasons.get(model) or _reason_from_log(log) or "no reason given"
    others = f" (and {len(missing) - 1} more: {', '.join(n for n in missing if n != model)})" if missing[1:] else ""
    raise ModelLoadError(
        f"Triton can't load the model '{model}'{others}: {reason}",
        hint=f"the server was stopped; its log is {log}",
        model=model,
        reason=reason,
        log=str(log),
    )


def _innermost(reason: str) -> str:
    """Keep the last line of a Python traceback or the whole of a one-line reason."""
    return " ".join(reason.split())


def _reason_from_log(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    for pattern in (_FAILED, _CONFIG):
        if found := pattern.search(text):
            return found["reason"].strip().strip('"')
    return ""


def _raise_from_log(log: Path) -> None:
    raise ServerError(
        f"the server ended while it started:\n{log_tail(log)}",
        hint=f"its whole log is {log}",
        log=str(log),
    )


def log_tail(log: Path, lines: int = LOG_LINES) -> str:
    """Read the last lines of a log, without the tables that Triton draws."""
    if not log.is_file():
        return "(there is no log)"
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in text if line and line[0] not in "+|"][-lines:])


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
