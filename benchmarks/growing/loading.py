"""Curves of a repository: what more models, and more bytes, cost when a server starts and when it serves."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from growing.load import closed_loop, request_of, text_request
from growing.repositories import MB, WIDTH, size_bytes, write_copies, write_weights
from growing.served import MANY, served_ensemble
from tritonpack.repository.tree import put, replacing
from tritonpack.server.embedded import RunningServer, ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from growing.curves import Figures

STARTUP_TIMEOUT_S = 600.0
_BUILD = Path(__file__).parents[2] / "build"
_TEXTS = 256
_ROWS = 8
_IN_FLIGHT = 4


@contextmanager
def started(repository: Path) -> Iterator[tuple[RunningServer, float]]:
    """Start a server on ports of its own.

    Yields:
        The server, ready, and the seconds that this took.
    """
    begin = time.perf_counter()
    options = ServerOptions(repository, *free_ports(), startup_timeout_s=STARTUP_TIMEOUT_S)
    with start(options) as server:
        yield server, time.perf_counter() - begin


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for repositories, usually on the file system of the models, so that copies can be links."""
    _BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="growth-", dir=_BUILD) as name:
        yield Path(name)


def with_models(source: Path, model: str, count: int, seconds: float) -> Figures:
    """Copies of one ensemble in one repository: start, memory, throughput; and the change of a single model."""
    with scratch() as folder:
        repository = folder / "repository"
        names = write_copies(source, model, count, repository)
        with started(repository) as (server, ready_s):
            ready_mb, processes = memory_mb(server), len(tree_of(server))
            texts = served_ensemble(server.grpc_url, repository, names[0]).mixed_texts(_TEXTS)
            requests = [text_request(names[place % count], [text]) for place, text in enumerate(texts)]
            one = [text_request(names[0], [text]) for text in texts]
            together = closed_loop(server.grpc_url, requests, MANY, seconds)
            alone = closed_loop(server.grpc_url, one, MANY, seconds)
            asked_mb = memory_mb(server)
        return {
            "start to ready, s": ready_s,
            "memory when ready, MB": ready_mb,
            "memory after load, MB": asked_mb,
            "one asked, texts/s": alone.throughput,
            "all asked in turn, texts/s": together.throughput,
            "each of all, texts/s": together.throughput / count,
            "change of one model, ms": change_ms(repository, names[0]),
            "repository, MB": size_bytes(repository) / MB,
            "processes": processes,
        }


def with_weights(size_mb: int, threads: int, seconds: float) -> Figures:
    """One model of so many million bytes: start, memory, and how fast it answers."""
    rows = np.random.default_rng(0).standard_normal((_ROWS, WIDTH), dtype=np.float32)
    with scratch() as folder:
        repository = folder / "repository"
        name = write_weights(repository, size_mb, threads)
        with started(repository) as (server, ready_s):
            ready_mb = memory_mb(server)
            load = closed_loop(server.grpc_url, [request_of(name, "x", rows)], _IN_FLIGHT, seconds)
            asked_mb = memory_mb(server)
        return {
            "start to ready, s": ready_s,
            "memory when ready, MB": ready_mb,
            "memory after load, MB": asked_mb,
            "rows/s": load.throughput * _ROWS,
            "p50, ms": load.p50_ms,
            "change of the model, ms": change_ms(repository, name),
        }


def memory_mb(server: RunningServer) -> float:
    """Memory of the server and the processes below it; what several share is counted once.

    Returns:
        The sum of their proportional set sizes, in million bytes.
    """
    return sum(process.memory_full_info().pss for process in tree_of(server)) / MB


def tree_of(server: RunningServer) -> list[psutil.Process]:
    """The server's process and all below it."""
    process = psutil.Process(server.state.pid)
    return [process, *process.children(recursive=True)]


def change_ms(repository: Path, model: str) -> float:
    """Milliseconds to write one model's configuration anew, the whole repository changed in one step."""
    config = (repository / model / "config.pbtxt").read_bytes()
    begin = time.perf_counter()
    with replacing(repository) as new:
        put(new / model / "config.pbtxt", config)
    return (time.perf_counter() - begin) * 1000
