"""One unary gRPC method over HTTP/2, as little of it as a load generator needs.

A load generator takes its processor time from the server that it measures. With gRPC's library a request takes 0.11
to 0.28 ms of it, here a third: requests are bytes already, their headers are the same each time, and of an answer only
its status is read. Large requests, and servers whose trailers aren't plain, are left to gRPC's library
(`tritonpack.loadtest.worker` decides).

Source: https://httpwg.org/specs/rfc9113.html (HTTP/2), https://httpwg.org/specs/rfc7541.html (HPACK),
https://github.com/grpc/grpc/blob/v1.70.0/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    Done = Callable[[int, str, int], None]
    """Called with gRPC's status, its message and when (ns) the answer was there."""

FITS = 16_000
"""Bytes of a request that go into one frame and one window of any server."""
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _MAX_STREAMS, _WINDOW = 1, 2, 3, 4
_DEFAULT_WINDOW, _DEFAULT_TABLE, _LARGEST = 65_535, 4096, 2**31 - 1
_CANCEL = 8
_UNKNOWN, _DEADLINE_EXCEEDED, _UNAVAILABLE = 2, 4, 14
_NS_PER_S = 1_000_000_000
_SWEEP_S = 0.05
_RETRY_S = 0.01
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UNREADABLE = "the answer's trailers hold no plain status"
"""The message where only gRPC's library can tell."""
_OK = b"grpc-status\x010"


class Connection(asyncio.Protocol):
    """A connection that sends requests to one method.

    Args:
        authority: ``host:port``.
        method: its full name, ``/package.Service/Method``.
        timeout_s: deadline of each request.
    """

    def __init__(self, authority: str, method: str, timeout_s: float) -> None:
        self._first, self._next = header_blocks(authority, method, timeout_s)
        self._plain = header_blocks(authority, method, timeout_s, kept=False)
        self._timeout_ns = int(timeout_s * _NS_PER_S)
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._out: list[bytes] = []
        self._stream = 1
        self._open: dict[int, tuple[Done, int]] = {}
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._window = _DEFAULT_WINDOW
        self._most_streams = _LARGEST
        self._received = 0
        self._reading = False
        self._sweep: asyncio.TimerHandle | None = None

    async def wait_ready(self) -> None:
        """Wait for the server's settings."""
        await self._ready

    def send(self, request: bytes, done: Done) -> None:
        """Send a request of at most `FITS` bytes; ``done`` is called later, never from within."""
        if self._transport is None:
            loop = asyncio.get_running_loop()
            loop.call_later(_RETRY_S, lambda: done(_UNAVAILABLE, "the connection is closed", time.monotonic_ns()))
            return
        self._waiting.append((request, done))
        if not self._reading:
            self._flush()

    def close(self) -> None:
        """Close the connection."""
        if self._sweep:
            self._sweep.cancel()
        if self._transport:
            self._transport.close()
            self._transport = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this side can take: no compression state in answers, and as much data as there is."""
        self._transport = cast("asyncio.Transport", transport)
        settings = b"".join(
            key.to_bytes(2, "big") + value.to_bytes(4, "big")
            for key, value in ((_HEADER_TABLE_SIZE, 0), (_ENABLE_PUSH, 0), (_WINDOW, _LARGEST))
        )
        more = (_LARGEST - _DEFAULT_WINDOW).to_bytes(4, "big")
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, more))
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is in flight."""
        self._transport = None
        now = time.monotonic_ns()
        lost = [done for done, _ in self._open.values()] + [done for _, done in self._waiting]
        self._open.clear()
        self._waiting.clear()
        message = f"the connection was lost: {exc or 'the server closed it'}"
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(message))
        for done in lost:
            done(_UNAVAILABLE, message, now)

    def data_received(self, data: bytes) -> None:
        """Read whole frames, and answer what they ask for in one write."""
        now = time.monotonic_ns()
        buffer = self._buffer + data if self._buffer else data
        place, end = 0, len(buffer)
        self._reading = True
        while end - place >= 9:  # noqa: PLR2004  the header of a frame
            length = int.from_bytes(buffer[place : place + 3], "big")
            following = place + 9 + length
            if following > end:
                break
            stream = int.from_bytes(buffer[place + 5 : place + 9], "big") & _LARGEST
            self._frame(buffer[place + 3], buffer[place + 4], stream, buffer[place + 9 : following], now)
            place = following
        self._buffer = buffer[place:]
        self._reading = False
        self._flush()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes, now: int) -> None:
        if kind == _DATA:
            self._received += len(payload)
            if self._received > _LARGEST // 2:
                self._out.append(frame(_WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
                self._received = 0
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._finish(stream, *status_from_trailers(payload), now)
        elif kind == _RST_STREAM:
            code = int.from_bytes(payload, "big")
            self._finish(stream, _UNAVAILABLE, f"the server ended the stream (HTTP/2 error {code})", now)
        elif not flags & _ACK:
            self._control(kind, stream, payload)

    def _control(self, kind: int, stream: int, payload: bytes) -> None:
        """Frames that are about the connection."""
        if kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == _PING:
            self._out.append(frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS:
            self._settings(payload)
        elif kind == _GOAWAY and self._transport:
            self._transport.close()

    def _settings(self, payload: bytes) -> None:
        settings = {
            int.from_bytes(payload[place : place + 2], "big"): int.from_bytes(payload[place + 2 : place + 6], "big")
            for place in range(0, len(payload), 6)
        }
        self._most_streams = settings.get(_MAX_STREAMS, self._most_streams)
        if settings.get(_HEADER_TABLE_SIZE, _DEFAULT_TABLE) < _DEFAULT_TABLE:
            self._first, self._next = self._plain
        self._out.append(frame(_SETTINGS, _ACK, 0, b""))
        if self._ready.done():
            return
        if settings.get(_WINDOW, _DEFAULT_WINDOW) < FITS:
            self._ready.set_exception(ConnectionError("the server's windows are smaller than a request may be"))
        else:
            self._ready.set_result(None)

    def _finish(self, stream: int, status: int, message: str, now: int) -> None:
        if found := self._open.pop(stream, None):
            found[0](status, message, now)

    def _flush(self) -> None:
        """Send what waits, as far as the server's windows allow, in one write."""
        while self._waiting and len(self._open) < self._most_streams:
            request, done = self._waiting[0]
            if len(request) > self._window:
                break
            self._waiting.popleft()
            self._window -= len(request)
            self._open[self._stream] = (done, time.monotonic_ns() + self._timeout_ns)
            self._out.append(frame(_HEADERS, _END_HEADERS, self._stream, self._first))
            self._out.append(frame(_DATA, _END_STREAM, self._stream, request))
            self._first = self._next
            self._stream += 2
        if self._out and self._transport:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _expire(self) -> None:
        """Give up what is past its deadline; requests stand in the order in which they were sent."""
        now = time.monotonic_ns()
        late = []
        for stream, (_, deadline) in self._open.items():
            if deadline > now:
                break
            late.append(stream)
        for stream in late:
            self._out.append(frame(_RST_STREAM, 0, stream, _CANCEL.to_bytes(4, "big")))
            self._finish(stream, _DEADLINE_EXCEEDED, "Deadline Exceeded", now)
        self._flush()
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._expire)


async def connect(url: str, method: str, timeout_s: float) -> Connection:
    """Open a connection to ``host:port``.

    Raises:
        OSError: nobody listens, or what listens doesn't speak HTTP/2.
    """
    host, _, port = url.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(url, method, timeout_s), host.strip("[]"), int(port)
    )
    await connection.wait_ready()
    return connection


def framed(message: bytes) -> bytes:
    """A message with gRPC's prefix: not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header_blocks(authority: str, method: str, timeout_s: float, *, kept: bool = True) -> tuple[bytes, bytes]:
    """The headers of the first request and of those that follow.

    Args:
        authority: ``host:port``.
        method: its full name.
        timeout_s: the deadline that the server is told.
        kept: the server keeps the first request's headers, and the others refer to them.
    """
    # Indices of names in HPACK's static table; 0 where the name isn't in it.
    fields = [
        (4, "", method),
        (1, "", authority),
        (31, "", "application/grpc"),
        (0, "te", "trailers"),
        (0, "grpc-timeout", f"{max(1, round(timeout_s * 1000))}m"),
    ]
    common = b"\x83\x86"  # :method POST, :scheme http
    if not kept:
        plain = b"".join(
            _integer(index, 4) + (_text(name) if name else b"") + _text(value) for index, name, value in fields
        )
        no_table = b"\x20"
        return no_table + common + plain, common + plain
    block = b"".join(
        bytes((0x40 | index,)) + (_text(name) if name else b"") + _text(value) for index, name, value in fields
    )
    newest = 62
    return common + block, common + bytes(0x80 | (newest + place) for place in reversed(range(len(fields))))


def status_from_trailers(block: bytes) -> tuple[int, str]:
    """Read gRPC's status and message; servers built on gRPC's core write names and values in plain."""
    if _OK in block:
        return 0, ""
    found = re.search(rb"grpc-status[\x01\x02](\d\d?)", block)
    if not found:
        return _UNKNOWN, UNREADABLE
    message = re.search(rb"grpc-message(.)", block, re.DOTALL)
    if not message:
        return int(found[1]), ""
    length, begin = _length(block, message.start(1))
    return int(found[1]), unquote_to_bytes(block[begin : begin + length]).decode("utf-8", "replace")


def _length(block: bytes, place: int) -> tuple[int, int]:
    """HPACK's integer of seven bits and more, and where it ends."""
    value = block[place] & 0x7F
    place += 1
    if value < 0x7F:  # noqa: PLR2004  the mark of a longer one
        return value, place
    shift = 0
    while True:
        value += (block[place] & 0x7F) << shift
        shift += 7
        place += 1
        if not block[place - 1] & 0x80:
            return value, place


def _integer(value: int, bits: int) -> bytes:
    """HPACK's integer, whose first byte has so many bits for it."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    value -= most
    written = bytes((most,))
    while value >= 0x80:  # noqa: PLR2004  seven bits in each byte
        written += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return written + bytes((value,))


def _text(value: str) -> bytes:
    """HPACK's string, not compressed."""
    return _integer(len(value.encode()), 7) + value.encode()
