"""One stream: what opens it, what its answers are, and who is told how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack_client.errors import (
    RequestCancelledError,
    ServerUnavailableError,
    TritonClientError,
    error_from_status,
)
from tritonpack_client.steps import Failure
from tritonpack_client.tensors import arrays_from_message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from tritonpack_client.endpoints import Balancer, Endpoint
    from tritonpack_client.observing import Watch
    from tritonpack_client.steps import Send


class Streaming:
    """A stream, from its opening to the end of the ``with`` that it is used in. It isn't tried again.

    Args:
        send: what opens it.
        model: its name.
        endpoint: where it is opened; picked, and given back to the balancer here.
        balancer: is told how it went. It counts the stream as in flight until the first answer: a stream may go on
            for hours.
        watches: of the observers.
    """

    def __init__(
        self, send: Send, model: str, endpoint: Endpoint, balancer: Balancer, watches: Sequence[Watch]
    ) -> None:
        self.send = send
        self._model = model
        self._endpoint = endpoint
        self._balancer = balancer
        self._watches = watches
        self._heard = False

    def __enter__(self) -> Streaming:  # noqa: PYI034 (Self is in typing from Python 3.11 on)
        """Tell the observers that it begins."""
        for watch in self._watches:
            watch.attempt_began(self._endpoint.url, 1)
        return self

    def outputs(self, answer: Any) -> dict[str, NDArray[Any]] | None:
        """The outputs of one answer; None for the empty one that ends a stream.

        Raises:
            TritonClientError: the answer is an error.
        """
        if isinstance(answer, Failure):
            raise self._error(answer.status, answer.message)
        self._hear(self._balancer.answered)
        if answer.error_message:
            raise self._error("INTERNAL", answer.error_message)
        return arrays_from_message(answer.infer_response, model=self._model, endpoint=self._endpoint.url) or None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the observers how it ended, and the balancer, where nothing came."""
        self._hear(self._balancer.failed if isinstance(error, ServerUnavailableError) else self._balancer.released)
        if error is not None and not isinstance(error, TritonClientError):
            error = RequestCancelledError("the stream was given up", model=self._model, endpoint=self._endpoint.url)
        for watch in self._watches:
            watch.ended(error)

    def _hear(self, tell: Any) -> None:
        if not self._heard:
            self._heard = True
            tell(self._endpoint)

    def _error(self, status: str, message: str) -> TritonClientError:
        return error_from_status(
            status, message, model=self._model, endpoint=self._endpoint.url, attempts=1, max_attempts=1
        )
