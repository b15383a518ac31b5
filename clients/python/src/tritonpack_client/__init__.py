"""A typed gRPC client for models that tritonpack serves."""

from tritonpack_client.client import Client
from tritonpack_client.errors import (
    AccessDeniedError,
    DeadlineExceededError,
    InputTypeError,
    InvalidInputError,
    InvalidRequestError,
    ModelNotFoundError,
    NotSupportedError,
    OverloadedError,
    QueueTimeoutError,
    RequestCancelledError,
    ServerFailureError,
    ServerUnavailableError,
    TritonClientError,
    UnexpectedAnswerError,
)
from tritonpack_client.limits import ModelLimits, ModelState, TensorSpec

__all__ = [
    "AccessDeniedError",
    "Client",
    "DeadlineExceededError",
    "InputTypeError",
    "InvalidInputError",
    "InvalidRequestError",
    "ModelLimits",
    "ModelNotFoundError",
    "ModelState",
    "NotSupportedError",
    "OverloadedError",
    "QueueTimeoutError",
    "RequestCancelledError",
    "ServerFailureError",
    "ServerUnavailableError",
    "TensorSpec",
    "TritonClientError",
    "UnexpectedAnswerError",
]
