"""What a client does, without doing it: generators that say what to send, and are told the answer.

Everything but the I/O is written once this way. `blocking` carries steps out with gRPC's blocking calls, `awaiting`
with its asyncio ones; neither knows what a model or a retry is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Send(NamedTuple):
    """Send one message; the outcome is the answer's message, or a `Failure`.

    Attributes:
        endpoint: the place of the endpoint among the client's.
        method: of Triton's gRPC service, e.g. ``ModelInfer``.
        message: a message of ``tritonclient.grpc.service_pb2``.
        timeout_s: what is left of the deadline.
        metadata: headers, names in lower case.
    """

    endpoint: int
    method: str
    message: Any
    timeout_s: float
    metadata: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Pause:
    """Wait; the outcome is None."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Carry several steps out at the same time; the outcome is the list of their results, in order."""

    parts: Sequence[Steps[Any]]
    concurrency: int


@dataclass(frozen=True)
class Failure:
    """Why a message has no answer.

    Attributes:
        status: the name of a gRPC status.
        message: the server's, or the transport's, own words.
    """

    status: str
    message: str


Steps: TypeAlias = Generator[Send | Pause | Together, Any, T]
"""Steps that end in a ``T``, or raise an error of ``errors``."""
