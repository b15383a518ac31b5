"""What both clients are made of: the arguments, and the calls that they carry out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from tritonpack_client.calls import Calls
from tritonpack_client.course import Course
from tritonpack_client.options import Compression, Options, Tls, headers_of, urls_of
from tritonpack_client.retries import DEFAULT_RETRIES, Retries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tritonpack_client.observing import Observer


IO = TypeVar("IO")


class Connection(ABC, Generic[IO]):
    """A connection to one Triton server over gRPC, or to several that serve the same models.

    Args:
        url: ``host:port`` of the server's gRPC endpoint, without a scheme; a list shares requests out among them.
        timeout_s: the deadline of each request in seconds, its retries included. It travels to the server, which drops
            what would come too late. A call of many rows sends many requests.
        concurrency: the most requests that one call of many rows has in flight.
        retries: what is done when nobody answers or a connection breaks; ``Retries(attempts=1)`` does nothing.
        tls: an encrypted connection; None for a plain one.
        headers: sent with every request, e.g. ``{"authorization": "Bearer ..."}``.
        compression: of requests: ``gzip`` or ``deflate``.
        keepalive_s: how often a connection with requests in flight is checked; None for never. Triton takes a check
            more often than every 300 s for an attack unless it was started with
            ``--grpc-http2-min-recv-ping-interval-without-data`` (milliseconds).
        shared_memory: tensors of 128 KiB and more go through shared memory where the server is on this machine, but
            for those of streams. Where it can't be done, they are sent as ever, and one line of the log says why.
        observers: watch every request; `tritonpack_client.telemetry` has logs, traces and counters.

    Raises:
        InvalidInputError: an argument makes no sense.
    """

    def __init__(
        self,
        url: str | Sequence[str] = "127.0.0.1:8001",
        *,
        timeout_s: float = 30.0,
        concurrency: int = 8,
        retries: Retries = DEFAULT_RETRIES,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        compression: Compression | None = None,
        keepalive_s: float | None = None,
        shared_memory: bool = False,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.options = Options(
            urls_of(url),
            timeout_s,
            concurrency,
            retries,
            tls,
            headers_of(headers),
            compression,
            keepalive_s,
            shared_memory,
            tuple(observers),
        )
        self._course = Course(self.options)
        self._calls = Calls(self.options, self._course)
        self._io = self._open()

    @property
    def url(self) -> str:
        """The endpoint, or the endpoints."""
        return ", ".join(self.options.urls)

    @abstractmethod
    def _open(self) -> IO:
        """What carries the calls out."""
