"""Loads over HTTP, as `tritonpack.loadtest.generator` makes them over gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.records import Records, level_from_records
from tritonpack.loadtest.traffic import Arrivals, Closed, arrival_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.traffic import Load

LEAST_BYTES = 1_000
"""An answer with fewer bytes holds no vector of 384 numbers."""
_ROOM_S = 30.0
_ERROR_LINES = 6


def request_of_document(host: str, port: int, path: str, document: Any) -> bytes:
    """A POST request with a JSON body, as the bytes that go over the wire."""
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def generate_http(
    host: str,
    port: int,
    requests: Sequence[bytes],
    load: Load,
    duration_s: float,
    *,
    warm_up_s: float,
    timeout_s: float,
) -> tuple[Level, int]:
    """Load an HTTP server and say how it did; the arguments are those of ``generate``.

    Returns:
        The level, and how many requests were sent in all, the warm-up's too.

    Raises:
        LoadTestError: no request was answered with success.
    """
    settings = {
        "host": host,
        "port": port,
        "least_bytes": LEAST_BYTES,
        "timeout_s": timeout_s,
        "duration_s": duration_s,
        "warm_up_s": warm_up_s,
        "requests": [request.hex() for request in requests],
        "concurrency": load.concurrency if isinstance(load, Closed) else 0,
    }
    with tempfile.TemporaryDirectory(prefix="tritonpack-http-") as name:
        folder = Path(name)
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        if isinstance(load, Arrivals):
            np.save(folder / "arrivals.npy", arrival_times(load, duration_s, before_s=warm_up_s))
        command = [sys.executable, "-m", "comparing.http_worker", name]
        limit_s = warm_up_s + duration_s + timeout_s + _ROOM_S
        try:
            done = subprocess.run(
                command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise LoadTestError(f"the load generator did not end within {limit_s:.0f} s") from None
        if done.returncode:
            raise LoadTestError("the load generator failed: " + "\n".join(done.stderr.splitlines()[-_ERROR_LINES:]))
        begin = json.loads((folder / "outcome.json").read_bytes())["begin"]
        records = Records.from_folders([folder], begin, duration_s)
        return level_from_records(records, load), len(records.due)
