"""Requests as metrics of the Prometheus client library."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from tritonpack_client.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack_client.errors import TritonClientError
    from tritonpack_client.observing import Request

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests and how long they take. Several clients may share a registry.

    - ``tritonpack_client_requests_total{model,method,outcome}``: the outcome is ``ok`` or the class of the error.
    - ``tritonpack_client_retries_total{model,method}``: attempts beyond the first.
    - ``tritonpack_client_request_seconds{model,method}``: a histogram, retries and pauses included; of a stream, until
      its last answer.

    Args:
        registry: a ``prometheus_client.CollectorRegistry``; the library's own if None.

    Raises:
        InvalidInputError: the library isn't installed.
    """

    def __init__(self, registry: Any = None) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise InvalidInputError("Metrics needs prometheus-client", hint="pip install prometheus-client") from error
        with _LOCK:
            registry = prometheus_client.REGISTRY if registry is None else registry
            if registry not in _COLLECTORS:
                _COLLECTORS[registry] = _Collectors(prometheus_client, registry)
            self._collectors = _COLLECTORS[registry]

    def began(self, request: Request) -> _Watch:
        """A request begins."""
        return _Watch(self._collectors, request)


class _Collectors:
    """The metrics of one registry, which takes each name once."""

    def __init__(self, library: Any, registry: Any) -> None:
        labels = ("model", "method")
        self.requests = library.Counter(
            "tritonpack_client_requests", "Requests, by how they ended", (*labels, "outcome"), registry=registry
        )
        self.retries = library.Counter(
            "tritonpack_client_retries", "Attempts beyond the first of a request", labels, registry=registry
        )
        self.seconds = library.Histogram(
            "tritonpack_client_request_seconds",
            "Seconds from a request's first attempt to its end",
            labels,
            registry=registry,
            buckets=_BUCKETS_S,
        )


_LOCK = threading.Lock()
_COLLECTORS: weakref.WeakKeyDictionary[Any, _Collectors] = weakref.WeakKeyDictionary()


class _Watch:
    headers: Mapping[str, str] = {}

    def __init__(self, collectors: _Collectors, request: Request) -> None:
        self._collectors = collectors
        self._labels = request.model, request.method
        self._began = time.monotonic()

    def attempt_began(self, endpoint: str, attempt: int) -> None:
        """Endpoints are no label: there may be many."""

    def attempt_failed(self, error: TritonClientError, pause_s: float) -> None:  # noqa: ARG002 (the protocol's)
        """Count a retry."""
        self._collectors.retries.labels(*self._labels).inc()

    def ended(self, error: TritonClientError | None) -> None:
        """Count the request."""
        outcome = "ok" if error is None else type(error).__name__
        self._collectors.requests.labels(*self._labels, outcome).inc()
        self._collectors.seconds.labels(*self._labels).observe(time.monotonic() - self._began)
