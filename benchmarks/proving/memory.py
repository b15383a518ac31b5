"""The memory of a process that turns a stream of texts into vectors.

    python benchmarks/proving/memory.py URL MODEL COUNT sync|async

prints one line of JSON: the largest resident memory of the process, in MB, before and at the end, and the seconds.
Every thousandth vector is compared with its formula.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import zlib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack_client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHECKED = 1000


def texts_of(total: int) -> Iterator[str]:
    """They are made as they are asked for."""
    return (text_of(number) for number in range(total))


def text_of(number: int) -> str:
    """One text, of 20 to 70 characters."""
    return f"a text with the number {number} {'x' * (number * 7 % 50)}"


def check(number: int, vector: NDArray[np.float32]) -> None:
    """Compare some vectors with what they are to be."""
    if number % CHECKED == 0:
        digits = np.array([int(digit, 16) - 7.5 for digit in f"{zlib.crc32(text_of(number).encode()):08x}"])
        np.testing.assert_allclose(vector, digits / np.linalg.norm(digits), atol=1e-6)


def blocking(url: str, model: str, total: int) -> int:
    """With `Client`; the number of vectors."""
    with Client(url) as client:
        given = 0
        for given, vector in zip(count(1), client.iter_embed(model, texts_of(total)), strict=False):
            check(given - 1, vector)
        return given


async def awaiting(url: str, model: str, total: int) -> int:
    """With `AsyncClient`; the number of vectors."""
    async with AsyncClient(url) as client:
        given = 0
        async for vector in client.iter_embed(model, texts_of(total)):
            check(given, vector)
            given += 1
        return given


def peak_mb() -> float:
    """The largest resident memory until now. That of getrusage would count the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(kib) * 1024 / 1e6, 1)


def main() -> None:
    """Do it."""
    url, model, total, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    before, began = peak_mb(), time.perf_counter()
    given = blocking(url, model, total) if kind == "sync" else asyncio.run(awaiting(url, model, total))
    document: dict[str, Any] = {
        "texts": given,
        "before_mb": before,
        "peak_mb": peak_mb(),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
