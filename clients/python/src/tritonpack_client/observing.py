"""What can watch a client's requests: logs, traces, counters. `telemetry` has those that come with the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack_client.errors import TritonClientError


@dataclass(frozen=True)
class Request:
    """One request, which may take several attempts; a stream is one request until its last answer.

    Attributes:
        method: of Triton's gRPC service, e.g. ``ModelInfer``.
        model: its name; empty where the request is about the server.
    """

    method: str
    model: str


class Watch(Protocol):
    """Watches one request from its first attempt to its end. Its methods don't block and don't raise."""

    headers: Mapping[str, str]
    """Sent with every attempt, e.g. the trace context."""

    def attempt_began(self, endpoint: str, attempt: int) -> None:
        """An attempt begins, the first with number 1, at the endpoint ``host:port``."""

    def attempt_failed(self, error: TritonClientError, pause_s: float) -> None:
        """An attempt failed, and another follows after a pause."""

    def ended(self, error: TritonClientError | None) -> None:
        """The request ended, with an answer if there is no error. It may end on another thread."""


class Observer(Protocol):
    """Watches a client's requests; called from all its threads."""

    def began(self, request: Request) -> Watch:
        """A request begins."""
