"""Triton's gRPC methods and statuses, for both kinds of I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonclient.grpc import service_pb2

from tritonpack_client.steps import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        path: its full name.
        to_bytes, from_bytes: of its messages.
    """

    path: str
    to_bytes: Callable[[Any], bytes]
    from_bytes: Callable[[bytes], Any]


def _methods() -> dict[str, Method]:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    found = {}
    for method in service.methods:
        request = getattr(service_pb2, method.input_type.name)
        response = getattr(service_pb2, method.output_type.name)
        path = f"/{service.full_name}/{method.name}"
        found[method.name] = Method(path, request.SerializeToString, response.FromString)
    return found


METHODS: Mapping[str, Method] = _methods()
"""By name."""

CLOSED = Failure("CANCELLED", "the client is closed")


def failure_from(error: grpc.RpcError) -> Failure:
    """What an error of gRPC's says."""
    return Failure(error.code().name, error.details() or "")
