"""Requests as spans of OpenTelemetry, joined to those of Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack_client.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack_client.errors import TritonClientError
    from tritonpack_client.observing import Request

_SERVICE = "inference.GRPCInferenceService"


class Traces:
    """A client span a request, however many attempts it takes; each retry is an event of it.

    The span is a child of the one that is current where the request is made. Its context goes to the server as W3C
    ``traceparent``, so that the spans of a Triton that was started with ``--trace-config mode=opentelemetry`` are its
    children. Triton traces every request that comes with such a context, whatever its own rate is.

    Triton reads the header without regard to its length, and so loses one of about fifty: its spans then stand in a
    trace of their own.

    Names and attributes: https://github.com/open-telemetry/semantic-conventions/blob/v1.39.0/docs/rpc/grpc.md

    Args:
        tracer_provider: OpenTelemetry's; the program's if None.

    Raises:
        InvalidInputError: OpenTelemetry isn't installed.
    """

    def __init__(self, tracer_provider: Any = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise InvalidInputError("Traces needs opentelemetry-api", hint="pip install opentelemetry-api") from error
        self._api = trace
        self._tracer = trace.get_tracer("tritonpack_client", tracer_provider=tracer_provider)
        self._propagator = TraceContextTextMapPropagator()

    def began(self, request: Request) -> _Watch:
        """A request begins."""
        method = f"{_SERVICE}/{request.method}"
        attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        if request.model:
            # What Triton calls it in its own spans.
            attributes["triton.model_name"] = request.model
        span = self._tracer.start_span(method, kind=self._api.SpanKind.CLIENT, attributes=attributes)
        headers: dict[str, str] = {}
        self._propagator.inject(headers, self._api.set_span_in_context(span))
        return _Watch(self._api, span, headers)


class _Watch:
    def __init__(self, api: Any, span: Any, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._api = api
        self._span = span

    def attempt_began(self, endpoint: str, attempt: int) -> None:  # noqa: ARG002 (the protocol's)
        """Say where the request went last."""
        host, _, port = endpoint.rpartition(":")
        self._span.set_attributes({"server.address": host.strip("[]"), "server.port": int(port)})

    def attempt_failed(self, error: TritonClientError, pause_s: float) -> None:
        """An event for a retry."""
        self._span.add_event(
            "retry",
            {
                "error.type": error.status or type(error).__name__,
                "error.message": error.message,
                "server.address": error.endpoint,
                "tritonpack.attempt": error.attempts,
                "tritonpack.pause_s": pause_s,
            },
        )

    def ended(self, error: TritonClientError | None) -> None:
        """Status and end."""
        if error is None:
            self._span.set_attribute("rpc.response.status_code", "OK")
        else:
            if error.status:
                self._span.set_attribute("rpc.response.status_code", error.status)
            attributes = {"error.type": error.status or type(error).__name__, "tritonpack.error": type(error).__name__}
            self._span.set_attributes(attributes)
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, error.message))
        self._span.end()
