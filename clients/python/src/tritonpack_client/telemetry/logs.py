"""Requests as records of the standard library's logging."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from tritonpack_client.errors import RequestCancelledError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack_client.errors import TritonClientError
    from tritonpack_client.observing import Request

_PROBES = frozenset({"ServerReady", "ModelReady"})


class Logs:
    """One record a retry (warning), a failure (error) and a success (debug).

    Every record has a field ``tritonpack``, a dictionary: ``model``, ``method``, ``endpoint``, ``attempt``, ``error``
    (the class), ``took_s``, ``pause_s``; those that apply. A request that its caller gave up is information, and a
    server that isn't ready yet is no failure: both are for debugging.

    Args:
        logger: where the records go; the logger ``tritonpack_client`` if None.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("tritonpack_client")

    def began(self, request: Request) -> _Watch:
        """A request begins."""
        return _Watch(self._logger, request)


class _Watch:
    headers: Mapping[str, str] = {}

    def __init__(self, logger: logging.Logger, request: Request) -> None:
        self._logger = logger
        self._request = request
        self._began = time.monotonic()
        self._endpoint = ""
        self._attempt = 0

    def attempt_began(self, endpoint: str, attempt: int) -> None:
        """Remember where."""
        self._endpoint, self._attempt = endpoint, attempt

    def attempt_failed(self, error: TritonClientError, pause_s: float) -> None:
        """Log a retry."""
        fields = {"error": type(error).__name__, "pause_s": round(pause_s, 6)}
        self._log(logging.WARNING, f"failed and is sent again in {pause_s:.3g} s: {error}", fields)

    def ended(self, error: TritonClientError | None) -> None:
        """Log the end."""
        took_s = round(time.monotonic() - self._began, 6)
        if error is None:
            self._log(logging.DEBUG, f"answered in {took_s:.3g} s", {"took_s": took_s})
            return
        quiet = self._request.method in _PROBES or isinstance(error, RequestCancelledError)
        level = logging.DEBUG if quiet else logging.ERROR
        self._log(level, f"failed after {took_s:.3g} s: {error}", {"error": type(error).__name__, "took_s": took_s})

    def _log(self, level: int, words: str, fields: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        request = self._request
        fields = {
            "model": request.model,
            "method": request.method,
            "endpoint": self._endpoint,
            "attempt": self._attempt,
            **fields,
        }
        what = f"{request.method} of {request.model!r}" if request.model else request.method
        self._logger.log(level, "%s %s", what, words, extra={"tritonpack": fields})
