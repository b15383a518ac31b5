"""When a request is sent again: how often, after which pause, and from what budget."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack_client.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

_STORED = 10.0


@dataclass(frozen=True)
class Retries:
    """What is done when nobody answers at an endpoint, or a connection breaks.

    Only that is tried again: a request that the server refused, or ran and failed, isn't, and neither is one of a model
    that keeps a state between requests.

    Attributes:
        attempts: the most attempts of a request; 1 for no retries.
        first_pause_s: the longest pause before the second attempt, in seconds.
        growth: how much longer each next pause may be.
        max_pause_s: the longest pause of all. A pause is drawn between 0 and its longest, so that clients that failed
            together don't come back together.
        budget: retries that requests may have on average; 10 more are allowed in a burst. A server that is down
            isn't asked several times as much as one that is up.

    Raises:
        InvalidInputError: a value makes no sense.
    """

    attempts: int = 5
    first_pause_s: float = 0.1
    growth: float = 2.0
    max_pause_s: float = 2.0
    budget: float = 0.2

    def __post_init__(self) -> None:
        """Check the values."""
        least = {"attempts": 1, "first_pause_s": 0, "growth": 1, "max_pause_s": 0, "budget": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if not value >= bound:
                raise InvalidInputError(f"Retries: {name} is {value}; it must be {bound} or more")

    def pause_s(self, failed: int, draw: Callable[[], float] = random.random) -> float:
        """The pause after so many failed attempts.

        Args:
            failed: 1 or more.
            draw: a number between 0 and 1.
        """
        # A power of growth would overflow long before the attempts end.
        longest = self.first_pause_s
        for _ in range(failed - 1):
            longest = min(longest * self.growth, self.max_pause_s)
        return min(longest, self.max_pause_s) * draw()


DEFAULT_RETRIES = Retries()


class Budget:
    """How many retries a client may still make: each request puts a share of one in; safe between threads.

    Args:
        share: of a retry that a request brings.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._stored = _STORED
        self._lock = threading.Lock()

    def request(self) -> None:
        """A request begins."""
        if self._stored < _STORED:
            with self._lock:
                self._stored = min(_STORED, self._stored + self._share)

    def take(self) -> bool:
        """Take a retry; False where none is left."""
        with self._lock:
            if self._stored < 1:
                return False
            self._stored -= 1
            return True
