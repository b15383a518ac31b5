"""The vectors of many texts: `embed` beside loops that one writes by hand, by turns in one process.

    python benchmarks/proving/bulk.py URL MODEL COUNT ROUNDS

prints one line of JSON: name -> the seconds of each round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as triton

from tritonpack_client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

AT_ONCE = 8
LOOP, POOL, SYNC, ASYNC = "a loop", f"a loop in {AT_ONCE} threads", "Client.embed", "AsyncClient.embed"


def one_request(client: triton.InferenceServerClient, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """What one writes by hand."""
    tensor = triton.InferInput("text", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_))
    found: NDArray[np.float32] = client.infer(model, [tensor]).as_numpy("embedding")
    return found


def ways(url: str, model: str, texts: Sequence[str], batch: int) -> dict[str, Callable[[], NDArray[np.float32]]]:
    """Each way to get all vectors, ready to be called."""
    raw, client = triton.InferenceServerClient(url), Client(url, concurrency=AT_ONCE)
    parts = [texts[first : first + batch] for first in range(0, len(texts), batch)]

    def pooled() -> NDArray[np.float32]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return np.concatenate(list(pool.map(lambda part: one_request(raw, model, part), parts)))

    async def awaited() -> NDArray[np.float32]:
        async with AsyncClient(url, concurrency=AT_ONCE) as client:
            return await client.embed(model, texts)

    return {
        LOOP: lambda: np.concatenate([one_request(raw, model, part) for part in parts]),
        POOL: pooled,
        SYNC: lambda: client.embed(model, texts),
        ASYNC: lambda: asyncio.run(awaited()),
    }


def main() -> None:
    """Do it."""
    url, model, count, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    texts = [f"text {number} of some words {'x' * (number * 7 % 90)}" for number in range(count)]
    with Client(url) as client:
        batch = client.limits(model).max_batch_size
        expected = client.embed(model, texts)
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, way in ways(url, model, texts, batch).items():
            began = time.perf_counter()
            found = way()
            taken.setdefault(name, []).append(round(time.perf_counter() - began, 4))
            np.testing.assert_allclose(found, expected, atol=1e-6)
    document: dict[str, Any] = {"texts": count, "batch": batch, "rounds": rounds, "seconds": taken}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
