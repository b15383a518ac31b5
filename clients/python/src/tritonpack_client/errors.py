"""Every error that the client raises on purpose.

TritonClientError
├── InvalidInputError            (also ValueError) what the caller passed can't be sent
│   └── InputTypeError           (also TypeError) it has the wrong type, e.g. a bare ``str`` for a list
├── InvalidRequestError          the server refuses the request: shape, type, batch size
├── ModelNotFoundError           the server doesn't have the model, or hasn't loaded it
├── AccessDeniedError            the server wants other credentials, or its own aren't trusted
├── NotSupportedError            the server doesn't offer this call
├── OverloadedError              the server has no room: a full queue, memory
│   └── QueueTimeoutError        it had room, but didn't come to the request in time
├── ServerUnavailableError       nobody answers at the endpoint
├── DeadlineExceededError        no answer in time
├── RequestCancelledError        the call was cancelled
├── ServerFailureError           the server or the model broke
└── UnexpectedAnswerError        an answer came, but not the one that the model's configuration promises
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class TritonClientError(Exception):
    """The root. ``str(error)`` is the whole message: what happened, where, and what to do.

    Args:
        message: what happened.
        model: the model of the request, if there is one.
        endpoint: the server's ``host:port``.
        hint: what the reader can do about it.
        attempts: how many attempts were made; 0 if nothing was sent.
        max_attempts: the most that would have been made.
        status: the name of the gRPC status that said so; empty if none did.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str = "",
        endpoint: str = "",
        hint: str = "",
        attempts: int = 0,
        max_attempts: int = 0,
        status: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.model = model
        self.endpoint = endpoint
        self.hint = hint
        self.attempts = attempts
        self.max_attempts = max_attempts
        self.status = status

    def __str__(self) -> str:
        """Message, then model, endpoint and attempt, then the hint."""
        where = [f"model {self.model!r}"] if self.model else []
        where += [f"at {self.endpoint}"] if self.endpoint else []
        details = [" ".join(where)] if where else []
        details += [f"attempt {self.attempts} of {self.max_attempts}"] if self.attempts else []
        text = f"{self.message} ({', '.join(details)})" if details else self.message
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes whole."""
        return type(self), (self.message,), self.__dict__


class InvalidInputError(TritonClientError, ValueError):
    """What the caller passed can't be sent."""


class InputTypeError(InvalidInputError, TypeError):
    """What the caller passed has the wrong type."""


class InvalidRequestError(TritonClientError):
    """The server refuses the request: shape, type, batch size."""


class ModelNotFoundError(TritonClientError):
    """The server doesn't have the model, or hasn't loaded it."""


class AccessDeniedError(TritonClientError):
    """The server wants other credentials, or its own aren't trusted."""


class NotSupportedError(TritonClientError):
    """The server doesn't offer this call."""


class OverloadedError(TritonClientError):
    """The server has no room for the request."""


class QueueTimeoutError(OverloadedError):
    """The request waited in the server's queue longer than it may, and wasn't run."""


class ServerUnavailableError(TritonClientError):
    """Nobody answers at the endpoint."""


class DeadlineExceededError(TritonClientError):
    """No answer came within the time that the caller gave."""


class RequestCancelledError(TritonClientError):
    """The call was cancelled."""


class ServerFailureError(TritonClientError):
    """The server or the model broke while it answered."""


class UnexpectedAnswerError(TritonClientError):
    """An answer came, but not the one that the model's configuration promises."""


_HINT_SERVER = "Is the server running there? `tritonpack status` shows the servers on this machine"
_HINT_REQUEST = "Compare the request with `Client.limits(model)`"
_HINT_LOG = "The server's log has the cause"

ERROR_FROM_STATUS: Mapping[str, tuple[type[TritonClientError], str]] = {
    # A failure that says OK is no success: the transport broke its own rules.
    "OK": (UnexpectedAnswerError, _HINT_LOG),
    "CANCELLED": (RequestCancelledError, ""),
    "UNKNOWN": (ServerFailureError, _HINT_LOG),
    "INVALID_ARGUMENT": (InvalidRequestError, _HINT_REQUEST),
    "DEADLINE_EXCEEDED": (
        DeadlineExceededError,
        "Give the call more time (`timeout_s`), or the server less load",
    ),
    "NOT_FOUND": (ModelNotFoundError, "`Client.models()` lists what the server has"),
    "ALREADY_EXISTS": (InvalidRequestError, _HINT_REQUEST),
    "PERMISSION_DENIED": (AccessDeniedError, "Check the credentials"),
    "UNAUTHENTICATED": (AccessDeniedError, "Check the credentials"),
    "RESOURCE_EXHAUSTED": (OverloadedError, "Send fewer requests at once, or smaller ones"),
    "FAILED_PRECONDITION": (InvalidRequestError, _HINT_REQUEST),
    "ABORTED": (ServerFailureError, _HINT_LOG),
    "OUT_OF_RANGE": (InvalidRequestError, _HINT_REQUEST),
    "UNIMPLEMENTED": (NotSupportedError, "The server may be older than this client, or no Triton at all"),
    "INTERNAL": (ServerFailureError, _HINT_LOG),
    "UNAVAILABLE": (ServerUnavailableError, _HINT_SERVER),
    "DATA_LOSS": (ServerFailureError, _HINT_LOG),
}
"""Name of a gRPC status -> (error class, hint). A test proves that no status is left out.

Source: https://github.com/grpc/grpc/blob/v1.70.0/doc/statuscodes.md
"""

ERROR_FROM_WORDS: dict[str, tuple[type[TritonClientError], str]] = {
    "unknown model": ERROR_FROM_STATUS["NOT_FOUND"],
    "Exceeds maximum queue size": (OverloadedError, "The queue is full: try again after a pause"),
    "Request timeout expired": (QueueTimeoutError, "The server is behind: try again after a pause"),
    "This protocol is restricted": (AccessDeniedError, "Pass that header with its value: headers={...}"),
}
"""What Triton says -> (error class, hint), where it answers UNAVAILABLE although the endpoint is fine.

Source: https://github.com/triton-inference-server/core/blob/r24.10/src/scheduler_utils.cc and
https://github.com/triton-inference-server/core/blob/r24.10/src/dynamic_batch_scheduler.cc
"""

ERROR_FROM_TRANSPORT: dict[str, tuple[type[TritonClientError], str]] = {
    "CERTIFICATE_VERIFY_FAILED": (
        AccessDeniedError,
        "The server's certificate isn't of an authority that is trusted: Tls(ca=...) names others",
    ),
    "Hostname Verification Check failed": (
        AccessDeniedError,
        "The server's certificate is for another name: Tls(server_name=...) says which",
    ),
    "WRONG_VERSION_NUMBER": (ServerUnavailableError, "The server doesn't speak TLS there: leave out tls"),
    "Socket closed": (
        ServerUnavailableError,
        "The server ended, or it wants TLS or a client's certificate: tls=Tls(...)",
    ),
}
"""What gRPC says of a connection -> (error class, hint), where the status is UNAVAILABLE: a model may say the same."""


def error_from_status(
    status: str, message: str, *, model: str = "", endpoint: str = "", attempts: int = 0, max_attempts: int = 0
) -> TritonClientError:
    """Map a gRPC status to an error.

    Args:
        status: the name of a gRPC status.
        message: the server's, or the transport's, own words.
        model: the model of the request, if there is one.
        endpoint: the server's ``host:port``.
        attempts: how many attempts were made.
        max_attempts: the most that would have been made.
    """
    kind, hint = ERROR_FROM_STATUS.get(status, (ServerFailureError, _HINT_LOG))
    known = ERROR_FROM_WORDS | ERROR_FROM_TRANSPORT if status == "UNAVAILABLE" else ERROR_FROM_WORDS
    kind, hint = next((found for words, found in known.items() if words in message), (kind, hint))
    # An unnamed request is announced as "[request id: <id_unknown>]", which tells nobody anything.
    words = message.removeprefix("[request id: <id_unknown>]").strip().rstrip(".")
    return kind(
        words, model=model, endpoint=endpoint, hint=hint, attempts=attempts, max_attempts=max_attempts, status=status
    )
