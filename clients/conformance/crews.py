"""Applications that call a server all the time, through clients that live for some hundred calls, and keep account.

A crew is a client and two threads, or two tasks, that share it. Its calls are drawn: vectors of a few texts, of more
than a request holds, with a short deadline, and texts of which the server counts how often it executed them.
"""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack_client import AsyncClient, Client, Retries, ServerUnavailableError, TritonClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack_client.observing import Request

TIMEOUT_S = 5.0
SHORT_S = 0.05
SLACK_S = 1.5
HANDS = 2
REST_S = 0.1
ONCE = Retries(attempts=1)
_COUNTED, _SHORT, _LARGE, _RAW = 0.1, 0.2, 0.3, 0.4


def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """What the model ``hash`` computes, computed here."""
    digits = np.array([[int(digit, 16) - 7.5 for digit in f"{zlib.crc32(text.encode()):08x}"] for text in texts])
    found: NDArray[np.float32] = (digits / np.linalg.norm(digits, axis=1, keepdims=True)).astype(np.float32)
    return found


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        texts: its rows.
        timeout_s: its deadline.
        counted: the server counts how often it executed the text; the call isn't tried again.
        raw: it is made of tensors, large enough for shared memory.
    """

    texts: tuple[str, ...]
    timeout_s: float = TIMEOUT_S
    counted: bool = False
    raw: bool = False

    def expected(self) -> NDArray[Any]:
        """Its answer."""
        return np.array([[len(self.texts[0])]]) if self.counted else vectors(self.texts)


@dataclass
class Ledger:
    """What became of every call; safe between threads.

    Attributes:
        times: of each client and outcome, how long each call took, in seconds.
        examples: the first message of each.
        again: attempts that failed and were followed by another, of each client.
        overdue, wrong, unmapped, twice: descriptions of what must not be.
    """

    times: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    again: Counter[str] = field(default_factory=Counter)
    overdue: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    _counted: list[tuple[str, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    done: int = 0

    def note(self, kind: str, call: Call, took_s: float, answer: Any, error: BaseException | None) -> None:
        """Keep the outcome of a call."""
        outcome = "answer" if error is None else type(error).__name__
        with self._lock:
            self.done += 1
            self.times[kind, outcome].append(took_s)
            if error is not None:
                self.examples.setdefault((kind, outcome), str(error))
            if took_s > call.timeout_s + SLACK_S:
                self.overdue.append(f"{kind}: {outcome} after {took_s:.2f} s, deadline {call.timeout_s:g} s")
            if error is not None and not isinstance(error, TritonClientError):
                self.unmapped.append(f"{kind}: {error!r}")
            if error is None and not np.allclose(answer, call.expected(), atol=1e-6):
                self.wrong.append(f"{kind}: {call.texts}")
            if call.counted:
                self._counted.append((call.texts[0], error is None))

    def tried_again(self, kind: str) -> None:
        """Count a retry."""
        with self._lock:
            self.again[kind] += 1

    def forget_counts(self) -> None:
        """The server that counted is gone."""
        with self._lock:
            self._counted.clear()

    def check_counts(self, executed: Callable[[Sequence[str]], Sequence[int]]) -> int:
        """Ask how often each text was executed since the server started; how many were asked about."""
        texts = [text for text, _ in self._counted]
        for (text, answered), count in zip(self._counted, executed(texts), strict=True):
            if count > 1 or (answered and count != 1):
                self.twice.append(f"{text} was executed {count} times")
        return len(texts)


@dataclass
class Plan:
    """What crews do, until all calls are made; safe between threads.

    Attributes:
        urls: of the proxies, by turns.
        calls: how many in all, half of them of each kind of client.
        life: how many a client makes.
        shared_memory: whether every fourth client uses it.
    """

    urls: Sequence[str]
    calls: int
    life: int
    shared_memory: bool
    ledger: Ledger
    _started: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_life(self, kind: str) -> tuple[int, int]:
        """The number of the next client of a kind and its calls; no calls where none are left."""
        most = self.calls // 2 + (self.calls % 2 if kind == "sync" else 0)
        with self._lock:
            first = self._started[kind]
            self._started[kind] = min(first + self.life, most)
            return first // self.life, self._started[kind] - first

    def arguments(self, kind: str, number: int) -> dict[str, Any]:
        """Of the client of a life."""
        shared = self.shared_memory and number % 4 == 0
        observer = _Retried(self.ledger, kind)
        return {
            "url": self.urls[number % len(self.urls)],
            "timeout_s": TIMEOUT_S,
            "observers": (observer,),
            "shared_memory": shared,
        }


class _Retried:
    """An observer that counts retries."""

    def __init__(self, ledger: Ledger, kind: str) -> None:
        self.headers: Mapping[str, str] = {}
        self._ledger, self._kind = ledger, kind

    def began(self, _request: Request) -> _Retried:
        return self

    def attempt_began(self, _endpoint: str, _attempt: int) -> None:
        """Nothing to keep."""

    def attempt_failed(self, _error: TritonClientError, _pause_s: float) -> None:
        self._ledger.tried_again(self._kind)

    def ended(self, _error: TritonClientError | None) -> None:
        """Nothing to keep."""


def drawn(kind: str, number: int, count: int) -> list[Call]:
    """The calls of a life, always the same ones."""
    # Not for secrets: a run is to be repeatable.
    random = Random(f"{kind} {number}")  # noqa: S311 (see above)
    return [_drawn(random, f"{kind}-{number}-{place}") for place in range(count)]


def _drawn(random: Random, name: str) -> Call:
    chance = random.random()
    if chance < _COUNTED:
        return Call((f"once:{name}",), counted=True)
    if chance < _SHORT:
        return Call((name,), timeout_s=SHORT_S)
    if chance < _LARGE:
        return Call(tuple(f"{name} {row}" + "x" * random.randrange(40) for row in range(9)))
    texts = tuple(f"{name} {row}" for row in range(random.randrange(1, 5)))
    return Call((texts[0] + " long" * 30_000, *texts[1:]) if chance < _RAW else texts, raw=chance < _RAW)


def texts_array(texts: Sequence[str]) -> NDArray[Any]:
    """(n, 1), as a request takes them."""
    return np.array(texts, dtype=np.object_)[:, None]


def work_blocking(plan: Plan) -> None:
    """Make the calls of one life after the other, with `Client`."""
    while True:
        number, count = plan.next_life("sync")
        if not count:
            return
        arguments = plan.arguments("sync", number)
        with (
            Client(**arguments) as client,
            Client(**arguments | {"retries": ONCE}) as once,
            ThreadPoolExecutor(HANDS) as pool,
        ):

            def make(call: Call, client: Client = client, once: Client = once) -> None:
                began, answer, error = time.monotonic(), None, None
                try:
                    answer = _made(client, once, call)
                except Exception as failure:  # noqa: BLE001 (what isn't mapped is what is looked for)
                    error = failure
                plan.ledger.note("sync", call, time.monotonic() - began, answer, error)
                if isinstance(error, ServerUnavailableError):
                    time.sleep(REST_S)

            list(pool.map(make, drawn("sync", number, count)))


def _made(client: Client, once: Client, call: Call) -> Any:
    if call.counted:
        return once.embed("moods", call.texts)
    if call.raw:
        return client.infer("hash", {"text": texts_array(call.texts)}, timeout_s=call.timeout_s)["embedding"]
    return client.embed("hash", call.texts, timeout_s=call.timeout_s)


async def work_awaiting(plan: Plan) -> None:
    """Make the calls of one life after the other, with `AsyncClient`."""
    while True:
        number, count = plan.next_life("async")
        if not count:
            return
        arguments = plan.arguments("async", number)
        async with AsyncClient(**arguments) as client, AsyncClient(**arguments | {"retries": ONCE}) as once:
            calls = iter(drawn("async", number, count))

            async def hand(client: AsyncClient = client, once: AsyncClient = once, calls: Any = calls) -> None:
                for call in calls:
                    began, answer, error = time.monotonic(), None, None
                    try:
                        answer = await _awaited(client, once, call)
                    except Exception as failure:  # noqa: BLE001 (what isn't mapped is what is looked for)
                        error = failure
                    plan.ledger.note("async", call, time.monotonic() - began, answer, error)
                    if isinstance(error, ServerUnavailableError):
                        await asyncio.sleep(REST_S)

            await asyncio.gather(*(hand() for _ in range(HANDS)))


async def _awaited(client: AsyncClient, once: AsyncClient, call: Call) -> Any:
    if call.counted:
        return await once.embed("moods", call.texts)
    if call.raw:
        outputs = await client.infer("hash", {"text": texts_array(call.texts)}, timeout_s=call.timeout_s)
        return outputs["embedding"]
    return await client.embed("hash", call.texts, timeout_s=call.timeout_s)


async def awaiting_crews(plan: Plan, count: int) -> None:
    """Several of them in one event loop."""
    await asyncio.gather(*(work_awaiting(plan) for _ in range(count)))
