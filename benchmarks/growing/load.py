"""Requests to a server in a closed loop, where every one must be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.generator import generate
from tritonpack.loadtest.traffic import Closed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LONGER = (1, 4, 16)
_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Answered:
    """What a loop gave.

    Attributes:
        throughput: requests a second.
        p50_ms: median milliseconds from sending to the answer.
        p99_ms: 99 of 100 took no longer.
    """

    throughput: float
    p50_ms: float
    p99_ms: float


def closed_loop(url: str, requests: Sequence[bytes], concurrency: int, seconds: float) -> Answered:
    """Keep requests in flight, taken in turn, for a quarter of the time unmeasured and then for ``seconds``.

    Where so little is answered in that time that the figures would be of chance, it is measured for longer.

    Raises:
        click.ClickException: a request was refused, so that the figures would be of something else.
        LoadTestError: nobody answers.
    """
    for longer in _LONGER:
        try:
            level = generate(url, requests, Closed(concurrency), longer * seconds, warm_up_s=longer * seconds / 4)
        except LoadTestError:
            if longer == _LONGER[-1]:
                raise
            continue
        if level.requests >= _LEAST_ROUNDS * concurrency:
            break
    if level.failures:
        raise click.ClickException(f"{url} refused requests, {concurrency} in flight: {level.failures[0]}")
    return Answered(level.throughput_per_s, level.latency.p50_us / 1000, level.latency.p99_us / 1000)


def request_of(model: str, name: str, array: NDArray[Any]) -> bytes:
    """Serialize a request of one input; texts come as an array of objects."""
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
    raw = serialize_byte_tensor(array).item() if array.dtype == np.object_ else array.tobytes()
    request.raw_input_contents.append(raw)
    serialized: bytes = request.SerializeToString()
    return serialized


def text_request(model: str, texts: Sequence[str]) -> bytes:
    """Serialize a request of some texts, (rows, 1) BYTES."""
    return request_of(model, "text", np.array(texts, dtype=np.object_)[:, None])
