"""Which of several servers the next request goes to, and which are left alone for a while."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FIRST_EJECTION_S = 1.0
_LONGEST_EJECTION_S = 30.0


@dataclass
class Endpoint:
    """One server.

    Attributes:
        place: among the client's endpoints.
        url: ``host:port``.
        in_flight: requests that it hasn't answered yet.
        failures: how often in a row nobody answered.
        out_until: when it may be asked again, by the balancer's clock.
    """

    place: int
    url: str
    in_flight: int = 0
    failures: int = 0
    out_until: float = 0.0


class Balancer:
    """Shares requests out among endpoints; safe between threads.

    The endpoint with the fewest requests in flight is next, by turns where several have as few. One at which nobody
    answers is left alone for a second, then for two, up to thirty; then one request tries it. If all are left alone,
    the one whose time ends first is asked.

    Args:
        urls: of the endpoints, one at least.
        clock: seconds that only grow.
    """

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.endpoints = [Endpoint(place, url) for place, url in enumerate(urls)]
        self._clock = clock
        self._turn = 0
        self._lock = threading.Lock()

    def pick(self) -> Endpoint:
        """The endpoint of the next attempt, which counts as in flight until `answered` or `failed`."""
        with self._lock:
            chosen = self._chosen() if len(self.endpoints) > 1 else self.endpoints[0]
            chosen.in_flight += 1
            return chosen

    def _chosen(self) -> Endpoint:
        now, count = self._clock(), len(self.endpoints)
        self._turn = (self._turn + 1) % count
        # One that was left alone is tried by one request at a time.
        ready = [one for one in self.endpoints if now >= one.out_until and not (one.failures and one.in_flight)]
        if not ready:
            return min(self.endpoints, key=lambda one: one.out_until)
        return min(ready, key=lambda one: (one.in_flight, (one.place - self._turn) % count))

    def answered(self, endpoint: Endpoint) -> None:
        """Somebody was there: an answer came, be it an error."""
        with self._lock:
            endpoint.in_flight -= 1
            endpoint.failures = 0
            endpoint.out_until = 0.0

    def failed(self, endpoint: Endpoint) -> None:
        """Nobody answered, or the connection broke."""
        with self._lock:
            endpoint.in_flight -= 1
            now = self._clock()
            # Requests that were in flight together fail together: that is one failure.
            if now >= endpoint.out_until:
                endpoint.out_until = now + min(_FIRST_EJECTION_S * 2.0**endpoint.failures, _LONGEST_EJECTION_S)
                endpoint.failures = min(endpoint.failures + 1, 16)

    def released(self, endpoint: Endpoint) -> None:
        """The attempt ended without saying anything of the endpoint: it was cancelled, or came too late."""
        with self._lock:
            endpoint.in_flight -= 1

    def has_other(self, endpoint: Endpoint) -> bool:
        """Whether another endpoint could be asked now."""
        now = self._clock()
        return any(one is not endpoint and now >= one.out_until for one in self.endpoints)
