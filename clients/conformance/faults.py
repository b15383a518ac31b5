"""TCP connections through a proxy that does to them what its faults say.

Source of what a reset is: SO_LINGER of zero seconds, https://man7.org/linux/man-pages/man7/socket.7.html
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from dataclasses import dataclass
from random import Random
from typing import Any, cast

ADDRESS = "127.0.0.1"
MOST_QUEUED_BYTES = 256 * 2**10
THROTTLED_PIECE_BYTES = 16 * 2**10
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Faults:
    """What happens to the connections of one proxy; the README beside this file says what each means."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    delay_share: float = 1.0
    answer_delay_s: float = 0.0
    throttle_bytes_per_s: float = 0.0
    reset_connections: int = 0
    reset_after_bytes: int = 0
    reset_after_s: float = 0.0
    reset_share: float = 0.0
    black_hole: bool = False
    refuse: bool = False
    seed: int = 0


class Lot:
    """What the faults mean for one connection: drawn once, from the seed and the connection's number.

    Args:
        faults: of its proxy.
        number: of the connection, counted from when the faults began.
    """

    def __init__(self, faults: Faults, number: int) -> None:
        # Not for secrets: the same faults must do the same again.
        self._random = Random(f"{faults.seed} {number}")  # noqa: S311 (see above)
        self.faults = faults
        self.resets = self._random.random() < faults.reset_share or number < faults.reset_connections
        self._delays = self._random.random() < faults.delay_share

    def delay_s(self, *, of_answer: bool) -> float:
        """How much later the next piece is passed on."""
        delay_s = self.faults.answer_delay_s if of_answer else 0.0
        if self._delays:
            delay_s += self.faults.delay_s + self.faults.jitter_s * self._random.random()
        return delay_s


class Pipe(asyncio.Protocol):
    """One direction: what is read from one side waits for its time and is written to the other.

    Args:
        link: both directions together.
        of_answer: the side that is read is the server.
    """

    def __init__(self, link: Link, *, of_answer: bool) -> None:
        self._link = link
        self._of_answer = of_answer
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._other_is_full = False
        self._ended = False
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the side that is read."""
        self.source = cast("asyncio.Transport", transport)
        self._link.connected(self)

    def data_received(self, data: bytes) -> None:
        """Pass data on, now or later."""
        data = self._link.allowed(data, of_answer=self._of_answer)
        if not data:
            return
        lot = self._link.lot
        self._due = max(self._due, self._loop.time() + lot.delay_s(of_answer=self._of_answer))
        rate = lot.faults.throttle_bytes_per_s
        step = THROTTLED_PIECE_BYTES if rate else len(data)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self._due += len(piece) / rate if rate else 0.0
            self._waiting.append((self._due, piece))
        self._queued_bytes += len(data)
        self.deliver()

    def deliver(self) -> None:
        """Write what is due, and wake up for what isn't."""
        self._timer = self._cancelled(self._timer)
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now and self.target is not None:
            piece = self._waiting.popleft()[1]
            self._queued_bytes -= len(piece)
            self.target.write(piece)
        if self._waiting and self.target is not None:
            self._timer = self._loop.call_at(self._waiting[0][0], self.deliver)
        if self._ended and not self._waiting:
            self._link.end()
        self.balance()

    def balance(self) -> None:
        """Read on only while there is room for what comes."""
        if self.source is None or self.source.is_closing():
            return
        if self._other_is_full or self._queued_bytes > MOST_QUEUED_BYTES:
            self.source.pause_reading()
        elif not self.source.is_reading():
            self.source.resume_reading()

    def pause_writing(self) -> None:
        """Stop the other direction, whose target is this one's source."""
        self._link.opposite(self).hold(full=True)

    def resume_writing(self) -> None:
        """Let the other direction go on."""
        self._link.opposite(self).hold(full=False)

    def hold(self, *, full: bool) -> None:
        """Note whether the target takes more."""
        self._other_is_full = full
        self.balance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on, after what still waits."""
        if exc is not None:
            self._link.reset()
        self._ended = True
        if not self._waiting:
            self._link.end()

    def stop(self) -> None:
        """Drop what waits."""
        self._timer = self._cancelled(self._timer)
        self._waiting.clear()

    @staticmethod
    def _cancelled(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class Link:
    """A client's connection and its counterpart to the server.

    Args:
        proxy: where it belongs.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.lot = proxy.next_lot()
        self._answered_bytes = 0
        self._swallowed = False
        self._ended = False
        self._opening: asyncio.Task[None] | None = None
        self._cutting: asyncio.TimerHandle | None = None
        self.questions = Pipe(self, of_answer=False)
        self.answers = Pipe(self, of_answer=True)

    def opposite(self, pipe: Pipe) -> Pipe:
        """The other direction."""
        return self.answers if pipe is self.questions else self.questions

    def connected(self, pipe: Pipe) -> None:
        """Open the server's side once the client's is there; then join them."""
        if pipe is self.questions:
            self._proxy.opened(self)
            self._opening = asyncio.create_task(self._open())
            self._wait_for_cut()
            return
        self.questions.target, self.answers.target = self.answers.source, self.questions.source
        if self._ended and self.answers.source is not None:
            self.answers.source.abort()

    async def _open(self) -> None:
        host, _, port = self._proxy.upstream.rpartition(":")
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.answers, host, int(port))
        except OSError:
            self._proxy.counters["upstream_failures"] += 1
            self.reset()
        else:
            self.questions.deliver()

    def allowed(self, data: bytes, *, of_answer: bool) -> bytes:
        """Count data, and say what of it may be passed on."""
        self._proxy.counters["bytes_of_answers" if of_answer else "bytes_of_questions"] += len(data)
        faults = self.lot.faults
        if faults.black_hole:
            self._swallowed = True
            return b""
        if not self.lot.resets or faults.reset_after_s or of_answer != (faults.reset_after_bytes > 0):
            return data
        self._answered_bytes += len(data)
        if self._answered_bytes < faults.reset_after_bytes:
            return data
        self._cut()
        return b""

    def _cut(self) -> None:
        self._proxy.counters["resets"] += 1
        self.reset()

    def _wait_for_cut(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None
        if self.lot.resets and self.lot.faults.reset_after_s:
            self._cutting = asyncio.get_running_loop().call_later(self.lot.faults.reset_after_s, self._cut)

    def change(self, lot: Lot) -> None:
        """Live with other faults from now on; what was swallowed can't be made good."""
        self.lot = lot
        self._answered_bytes = 0
        self._wait_for_cut()
        if lot.faults.refuse or (self._swallowed and not lot.faults.black_hole):
            self.reset()

    def reset(self) -> None:
        """End the client's side with a reset, and the server's with it."""
        if self.questions.source is not None and not self._ended:
            # A connection that is gone already can't be told.
            with contextlib.suppress(OSError):
                sock = self.questions.source.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self.questions.source.abort()
        self.end()

    def end(self) -> None:
        """Close both sides, after what is written already."""
        if self._ended:
            return
        self._ended = True
        self.questions.stop()
        self.answers.stop()
        if self._cutting is not None:
            self._cutting.cancel()
        if self._opening is not None and self._opening is not asyncio.current_task():
            self._opening.cancel()
        for pipe in (self.questions, self.answers):
            if pipe.source is not None:
                pipe.source.close()
        self._proxy.closed(self)


class Proxy:
    """One listening port in front of the server.

    Args:
        upstream: the server's ``host:port``.
        faults: what happens to its connections.
    """

    def __init__(self, upstream: str, faults: Faults) -> None:
        self.upstream = upstream
        self.counters: Counter[str] = Counter()
        self._faults = faults
        self._numbered = 0
        self._links: dict[Link, None] = {}
        self._server: asyncio.Server | None = None
        # Bound and never listening: the port stays ours while nobody listens.
        self._holder = _socket(0)
        self.url = f"{ADDRESS}:{self._holder.getsockname()[1]}"

    async def change(self, faults: Faults) -> None:
        """Begin with other faults; connections are counted anew, the open ones first."""
        self._faults = faults
        self._numbered = 0
        for link in list(self._links):
            link.change(self.next_lot())
        if faults.refuse and self._server is not None:
            self._server.close()
            self._server = None
        elif not faults.refuse and self._server is None:
            loop = asyncio.get_running_loop()
            port = self._holder.getsockname()[1]
            self._server = await loop.create_server(lambda: Link(self).questions, sock=_socket(port), backlog=1024)

    def next_lot(self) -> Lot:
        """Draw for the next connection."""
        self._numbered += 1
        return Lot(self._faults, self._numbered - 1)

    def opened(self, link: Link) -> None:
        """Count a connection."""
        self.counters["connections"] += 1
        self._links[link] = None

    def closed(self, link: Link) -> None:
        """Forget a connection."""
        self._links.pop(link, None)

    def report(self) -> dict[str, Any]:
        """Say where it is and what it has seen."""
        names = ("connections", "resets", "upstream_failures", "bytes_of_questions", "bytes_of_answers")
        return {"url": self.url, "open": len(self._links), **{name: self.counters[name] for name in names}}

    def close(self) -> None:
        """Stop listening, and reset what is open."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.reset()
        self._holder.close()


def _socket(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((ADDRESS, port))
    return bound
