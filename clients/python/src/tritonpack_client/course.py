"""The course of one request: its attempts, one deadline over all of them, and the error at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tritonpack_client.endpoints import Balancer, Endpoint
from tritonpack_client.errors import (
    RequestCancelledError,
    ServerUnavailableError,
    TritonClientError,
    error_from_status,
)
from tritonpack_client.observing import Request
from tritonpack_client.retries import Budget
from tritonpack_client.steps import Failure, Pause, Send
from tritonpack_client.streaming import Streaming

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack_client.observing import Watch
    from tritonpack_client.options import Options
    from tritonpack_client.steps import Steps

_US_PER_S = 1_000_000


class Course:
    """Makes the steps of requests.

    Args:
        options: the client's.
        clock: seconds that only grow.

    Attributes:
        closed: nothing is sent any more.
    """

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self.clock = clock
        self._balancer = Balancer(options.urls, clock)
        self._budget = Budget(options.retries.budget)
        self.closed = False

    def request(
        self,
        method: str,
        message: Any,
        *,
        model: str = "",
        timeout_s: float,
        attempts: int | None = None,
        also: Watch | None = None,
    ) -> Steps[Any]:
        """Send a message until it's answered, or until there is nothing left to try.

        Args:
            method: of Triton's gRPC service.
            message: what is sent. Of a ``ModelInferRequest`` the parameter ``timeout`` is set to what is left of the
                deadline, so that the server's queue drops what would come too late.
            model: its name, for errors and observers.
            timeout_s: the deadline, from now on, of all attempts and the pauses between them.
            attempts: the most attempts, where the client's retries don't apply.
            also: watches this request, beside the observers.

        Returns:
            The answer's message.

        Raises:
            TritonClientError: the error of the last attempt.
        """
        deadline = self.clock() + timeout_s
        if not self._options.observers and also is None:
            return (yield from self._attempts(method, message, model, deadline, attempts, ()))
        watches = self._watches(method, model)
        if also is not None:
            watches.append(also)
        error: TritonClientError | None = RequestCancelledError("the request was given up", model=model)
        try:
            answer = yield from self._attempts(method, message, model, deadline, attempts, watches)
        except TritonClientError as failure:
            error = failure
            raise
        else:
            error = None
            return answer
        finally:
            for watch in watches:
                watch.ended(error)

    def stream(self, message: Any, model: str, timeout_s: float) -> Streaming:
        """A stream, which isn't open yet.

        Raises:
            RequestCancelledError: the client is closed.
        """
        if self.closed:
            raise RequestCancelledError("the client is closed")
        watches = self._watches("ModelStreamInfer", model)
        endpoint = self._balancer.pick()
        send = Send(endpoint.place, "ModelStreamInfer", message, timeout_s, self._headers(watches))
        return Streaming(send, model, endpoint, self._balancer, watches)

    def _watches(self, method: str, model: str) -> list[Watch]:
        return [observer.began(Request(method, model)) for observer in self._options.observers]

    def _headers(self, watches: Sequence[Watch]) -> list[tuple[str, str]]:
        return [*self._options.headers, *(item for watch in watches for item in watch.headers.items())]

    def _attempts(
        self, method: str, message: Any, model: str, deadline: float, most: int | None, watches: Sequence[Watch]
    ) -> Steps[Any]:
        self._budget.request()
        most = self._options.retries.attempts if most is None else most
        attempt = 1
        while True:
            endpoint = self._balancer.pick()
            for watch in watches:
                watch.attempt_began(endpoint.url, attempt)
            outcome = yield from self._attempt(endpoint, method, message, deadline, watches)
            if not isinstance(outcome, Failure):
                return outcome
            error = error_from_status(
                outcome.status, outcome.message, model=model, endpoint=endpoint.url, attempts=attempt, max_attempts=most
            )
            pause_s = self._pause_s(error, endpoint, attempt, most, deadline)
            if pause_s is None:
                raise error
            for watch in watches:
                watch.attempt_failed(error, pause_s)
            if pause_s:
                yield Pause(pause_s)
            attempt += 1

    def _attempt(
        self, endpoint: Endpoint, method: str, message: Any, deadline: float, watches: Sequence[Watch]
    ) -> Steps[Any]:
        """Send once, and tell the balancer how it went."""
        heard = self._balancer.released
        try:
            left_s = deadline - self.clock()
            if self.closed:
                return Failure("CANCELLED", "the client is closed")
            if left_s <= 0:
                return Failure("DEADLINE_EXCEEDED", "there was no time left to send the request")
            if method == "ModelInfer":
                message.parameters["timeout"].int64_param = max(1, int(left_s * _US_PER_S))
            outcome = yield Send(endpoint.place, method, message, left_s, self._headers(watches))
            if not isinstance(outcome, Failure):
                heard = self._balancer.answered
            elif isinstance(error_from_status(outcome.status, outcome.message), ServerUnavailableError):
                heard = self._balancer.failed
            elif outcome.status not in {"CANCELLED", "DEADLINE_EXCEEDED"}:
                heard = self._balancer.answered
            return outcome
        finally:
            heard(endpoint)

    def _pause_s(
        self, error: TritonClientError, endpoint: Endpoint, attempt: int, most: int, deadline: float
    ) -> float | None:
        """How long to wait before the next attempt; None if there is to be none."""
        if not isinstance(error, ServerUnavailableError) or attempt >= most or self.closed:
            return None
        pause_s = 0.0 if self._balancer.has_other(endpoint) else self._options.retries.pause_s(attempt)
        if self.clock() + pause_s >= deadline or not self._budget.take():
            return None
        return pause_s
