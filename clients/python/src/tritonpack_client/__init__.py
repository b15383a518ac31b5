"""Typed gRPC clients for models that tritonpack serves."""

from tritonpack_client.async_client import AsyncClient
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
from tritonpack_client.options import Tls
from tritonpack_client.results import Answer, Entity, Label, Token
from tritonpack_client.retries import Retries

__all__ = [
    "AccessDeniedError",
    "Answer",
    "AsyncClient",
    "Client",
    "DeadlineExceededError",
    "Entity",
    "InputTypeError",
    "InvalidInputError",
    "InvalidRequestError",
    "Label",
    "ModelLimits",
    "ModelNotFoundError",
    "ModelState",
    "NotSupportedError",
    "OverloadedError",
    "QueueTimeoutError",
    "RequestCancelledError",
    "Retries",
    "ServerFailureError",
    "ServerUnavailableError",
    "TensorSpec",
    "Tls",
    "Token",
    "TritonClientError",
    "UnexpectedAnswerError",
]
