"""The process that sends with tritonclient as its documentation shows it, to hold our clients against.

    python benchmarks/proving/raw_worker.py threads|asyncio

It is talked to as `tritonpack.loadtest.sdk_worker`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as blocking
import tritonclient.grpc.aio as awaiting

from tritonpack.loadtest.sdk_worker import Job, arrays, from_tasks, from_threads

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT = "embedding"


def inputs(row: Mapping[str, str]) -> list[Any]:
    """A row as tritonclient takes it."""
    found = []
    for name, array in arrays(row).items():
        tensor = blocking.InferInput(name, list(array.shape), "BYTES")
        tensor.set_data_from_numpy(np.array([[text.encode()] for (text,) in array], np.object_))
        found.append(tensor)
    return found


def threads(job: Job) -> float:
    """Send from threads that share a client."""
    outputs = [blocking.InferRequestedOutput(OUTPUT)]
    with blocking.InferenceServerClient(job.url) as client:
        client.get_model_config(job.model)
        return from_threads(
            job,
            lambda row: client.infer(job.model, inputs(row), outputs=outputs, client_timeout=job.timeout_s).as_numpy(
                OUTPUT
            ),
        )


async def tasks(job: Job) -> float:
    """Send from the tasks of one event loop."""
    outputs = [awaiting.InferRequestedOutput(OUTPUT)]
    async with awaiting.InferenceServerClient(job.url) as client:
        await client.get_model_config(job.model)

        async def call(row: Mapping[str, str]) -> Any:
            answer = await client.infer(job.model, inputs(row), outputs=outputs, client_timeout=job.timeout_s)
            return answer.as_numpy(OUTPUT)

        return await from_tasks(job, call)


def main() -> None:
    """Do the job of the first line."""
    job = Job(json.loads(sys.stdin.readline()))
    cpu_s = asyncio.run(tasks(job)) if sys.argv[1] == "asyncio" else threads(job)
    print(json.dumps(job.outcome(cpu_s)))


if __name__ == "__main__":
    main()
