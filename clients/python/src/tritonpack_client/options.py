"""How a client connects: its arguments, checked once, and what gRPC is told of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import grpc

from tritonpack_client.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tritonpack_client.observing import Observer
    from tritonpack_client.retries import Retries

Compression = Literal["gzip", "deflate"]

_COMPRESSIONS = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


_NAME_OF_HEADER = re.compile("[a-z0-9_.-]+")
_LONGEST_S = 365 * 86400.0


@dataclass(frozen=True)
class Tls:
    """An encrypted connection. Each value is a PEM file's path, or its bytes.

    Attributes:
        ca: certificates of the authorities that the server's certificate may be of; None for gRPC's own list.
        certificate: this client's, with its chain, where the server wants to know who calls.
        key: of ``certificate``.
        server_name: the name in the server's certificate, where it isn't the one in the url.

    Raises:
        InvalidInputError: a certificate without its key, or the other way round; a file can't be read.
    """

    ca: str | Path | bytes | None = None
    certificate: str | Path | bytes | None = None
    key: str | Path | bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Check that certificate and key come together."""
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise InvalidInputError(f"Tls: {given} was given without {missing}; a client has both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC takes."""
        return grpc.ssl_channel_credentials(
            _pem("ca", self.ca), _pem("key", self.key), _pem("certificate", self.certificate)
        )


def _pem(name: str, given: str | Path | bytes | None) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"Tls: {name}: {given} can't be read: {error.strerror}") from error


@dataclass(frozen=True)
class Options:
    """A client's arguments; `tritonpack_client.connection` says what they mean.

    Raises:
        InvalidInputError: one of them makes no sense.
    """

    urls: tuple[str, ...]
    timeout_s: float
    concurrency: int
    retries: Retries
    tls: Tls | None
    headers: tuple[tuple[str, str], ...]
    compression: Compression | None
    keepalive_s: float | None
    shared_memory: bool
    observers: tuple[Observer, ...]

    def __post_init__(self) -> None:
        """Check every value that gRPC or Triton would misunderstand."""
        if not self.urls:
            raise InvalidInputError("url is an empty list; a client needs one endpoint at least")
        for url in self.urls:
            host, _, port = url.rpartition(":")
            if "://" in url or not host or not (port.isdecimal() and port.isascii()):
                raise InvalidInputError(f"url {url!r} isn't host:port", hint="Example: 127.0.0.1:8001")
        checked_timeout_s(self.timeout_s)
        if self.concurrency < 1:
            raise InvalidInputError(f"concurrency is {self.concurrency}; it must be 1 or more")
        if self.compression not in _COMPRESSIONS:
            raise InvalidInputError(f"compression is {self.compression!r}; it is 'gzip', 'deflate' or None")
        if self.keepalive_s is not None and not self.keepalive_s > 0:
            raise InvalidInputError(f"keepalive_s is {self.keepalive_s}; it must be above 0, or None")
        if self.shared_memory and len(self.urls) > 1:
            raise InvalidInputError("shared_memory works with one server on this machine; several urls were given")

    @property
    def grpc_compression(self) -> Any:
        """GRPC's value of ``compression``."""
        return _COMPRESSIONS[self.compression]

    @property
    def channel_arguments(self) -> list[tuple[str, Any]]:
        """GRPC's channel arguments.

        Source: https://github.com/grpc/grpc/blob/v1.70.0/include/grpc/impl/channel_arg_names.h
        """
        arguments: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # Retries are ours: they know the model, the budget and the other endpoints.
            ("grpc.enable_retries", 0),
            # gRPC waits up to two minutes before it looks at a server again that was away.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # Two clients of one process have a connection each.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self.keepalive_s is not None:
            arguments += [
                ("grpc.keepalive_time_ms", int(self.keepalive_s * 1000)),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.max_pings_without_data", 0),
            ]
        if self.tls is not None and self.tls.server_name is not None:
            arguments.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return arguments


def checked_timeout_s(timeout_s: float) -> float:
    """A deadline; infinity is a year.

    Raises:
        InvalidInputError: it isn't above 0.
    """
    if not timeout_s > 0:
        raise InvalidInputError(f"timeout_s is {timeout_s}; it must be above 0")
    return min(timeout_s, _LONGEST_S)


def urls_of(url: str | Sequence[str]) -> tuple[str, ...]:
    """One url or several, as a tuple."""
    return (url,) if isinstance(url, str) else tuple(url)


def headers_of(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Headers as gRPC takes them: names in lower case.

    Raises:
        InvalidInputError: a name or a value can't be a header.
    """
    found = []
    for name, value in (headers or {}).items():
        lower = name.lower()
        if not _NAME_OF_HEADER.fullmatch(lower) or lower.startswith("grpc-") or lower.endswith("-bin"):
            raise InvalidInputError(f"headers: {name!r} is no name of a header that may be set")
        if not value.isascii() or not value.isprintable():
            raise InvalidInputError(f"headers: the value of {name!r} holds what isn't printable ASCII")
        found.append((lower, value))
    return tuple(found)
