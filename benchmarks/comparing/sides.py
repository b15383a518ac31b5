"""What is measured: our server, the same over HTTP, and the peers; each is asked in the same way."""

from __future__ import annotations

import http.client
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from peers import THREADS, Place

from comparing.loads import generate_http, request_of_document
from comparing.processes import Program, Tree
from tritonpack.loadtest.generator import record
from tritonpack.loadtest.payloads import payloads_from_rows
from tritonpack.loadtest.records import level_from_records
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from peers import Peer

    from comparing.environments import Environment
    from comparing.workloads import Workload
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.traffic import Load

HOST = "127.0.0.1"
WARM_UP_S, TIMEOUT_S = 0.5, 20.0
_READY_TIMEOUT_S = 180.0
_PROBE_S = 0.1
_AT_ONCE = 8
_VARIABLES = {
    "OMP_NUM_THREADS": str(THREADS),
    # torch's threads would spin while they wait, and take the cores from the server's own process.
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONPATH": str(Path(__file__).parents[1]),
}


class SideError(Exception):
    """A side doesn't start or doesn't answer."""


@dataclass(frozen=True)
class Figures:
    """What one side did under one load.

    Attributes:
        texts_per_s: that were answered.
        cpu_ms: of the server's processes, for each request.
        failed: requests without a good answer.
        generator_cores: that sending took.
    """

    texts_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    failed: int
    generator_cores: float


class Side(Protocol):
    """A server that is up.

    Attributes:
        name: in the results.
        ready_s: from its start until it answered.
    """

    name: str
    ready_s: float

    def ask(self, workload: Workload, load: Load, duration_s: float) -> Figures:
        """Put a load on it."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Vectors ``(texts, width)``, several asked for at once, so that batching is in play."""

    def memory_mb(self) -> float:
        """Of all its processes."""

    def stop(self) -> None:
        """End it."""


class Ours:
    """The embedded server, asked over gRPC, and over HTTP by `OverHttp`.

    Args:
        name: in the results.
        repository: the model repository.
        model: the ensemble that it serves, alone.
        config_name: the target; None for each model's own configuration.
        one_process: whether the ensemble's steps run in one process.
    """

    def __init__(
        self, name: str, repository: Path, model: str, *, config_name: str | None = None, one_process: bool = True
    ) -> None:
        self.name, self.model = name, model
        self._requests: dict[str, list[bytes]] = {}
        begin = time.perf_counter()
        grpc_port, http_port, metrics_port = free_ports()
        options = ServerOptions(
            repository, grpc_port, http_port, metrics_port, config_name, models=(model,), one_process=one_process
        )
        self.server = start(options)
        self.ready_s = time.perf_counter() - begin
        self.tree = Tree(self.server.state.pid)

    def ask(self, workload: Workload, load: Load, duration_s: float) -> Figures:
        """Put a load on it."""
        if workload.name not in self._requests:
            rows = [{"text": text} for text in workload.texts]
            self._requests[workload.name] = payloads_from_rows(self.model, rows, shuffled=False)
        before = self.tree.cpu_s()
        records = record(
            self.server.grpc_url, self._requests[workload.name], load, duration_s,
            warm_up_s=WARM_UP_S, timeout_s=TIMEOUT_S,
        )  # fmt: skip
        cpu_s = self.tree.cpu_s() - before
        return replace(_figures_of(level_from_records(records, load)), cpu_ms=1000 * cpu_s / len(records.due))

    def over_http(self, name: str) -> OverHttp:
        """The same server, asked over HTTP with JSON."""

        def body(text: str) -> dict[str, Any]:
            return {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}

        def vector(answer: Any) -> Any:
            return answer["outputs"][0]["data"]

        path = f"/v2/models/{self.model}/infer"
        return OverHttp(name, self.server.state.http_port, path, body, vector, self.tree)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Vectors ``(texts, width)``."""
        with Client(self.server.grpc_url) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda text: client.embed(self.model, [text])[0], texts)
            return np.array(list(found), np.float64)

    def memory_mb(self) -> float:
        """Of all its processes."""
        return self.tree.memory_mb()

    def stop(self) -> None:
        """End it."""
        self.server.stop()


class OverHttp:
    """A server that is asked over HTTP with JSON.

    Args:
        name: in the results.
        port: where it listens.
        path: of the request.
        body: a request's document of a text.
        vector: the vector in an answer's document, or the vectors of its tokens.
        tree: its processes.
    """

    def __init__(
        self,
        name: str,
        port: int,
        path: str,
        body: Callable[[str], Any],
        vector: Callable[[Any], Any],
        tree: Tree,
    ) -> None:
        self.name, self.ready_s = name, 0.0
        self._port, self._path, self._body, self._vector, self._tree = port, path, body, vector, tree
        self._requests: dict[str, list[bytes]] = {}

    def ask(self, workload: Workload, load: Load, duration_s: float) -> Figures:
        """Put a load on it."""
        if workload.name not in self._requests:
            self._requests[workload.name] = [
                request_of_document(HOST, self._port, self._path, self._body(text)) for text in workload.texts
            ]
        before = self._tree.cpu_s()
        level, sent = generate_http(
            HOST, self._port, self._requests[workload.name], load, duration_s,
            warm_up_s=WARM_UP_S, timeout_s=TIMEOUT_S,
        )  # fmt: skip
        return replace(_figures_of(level), cpu_ms=1000 * (self._tree.cpu_s() - before) / sent)

    def answer(self, text: str) -> Any:
        """The document that answers a text.

        Raises:
            SideError: it refuses, or answers with something else.
        """
        connection = http.client.HTTPConnection(HOST, self._port, timeout=TIMEOUT_S)
        try:
            body = json.dumps(self._body(text))
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            told = response.read()
            if response.status != http.HTTPStatus.OK:
                raise SideError(f"status {response.status}: {told[:300].decode(errors='replace')}")
            return json.loads(told)
        finally:
            connection.close()

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Vectors ``(texts, width)``, of unit length; of tokens' vectors the mean is taken."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = [np.array(self._vector(answer), np.float64) for answer in pool.map(self.answer, texts)]
        vectors = np.array([vector.mean(0) if vector.ndim > 1 else vector for vector in found])
        unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def memory_mb(self) -> float:
        """Of all its processes."""
        return self._tree.memory_mb()

    def stop(self) -> None:
        """Nothing: whoever started it ends it."""


class Served(OverHttp):
    """A peer's server, started.

    Args:
        name: in the results.
        peer: what is started.
        environment: where its packages are.
        model: the weights' folder.
        work: a folder of its own.

    Raises:
        SideError: it ended or doesn't answer in time.
    """

    def __init__(self, name: str, peer: Peer, environment: Environment, model: Path, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        port = free_ports(1)[0]
        place = Place(environment.python.absolute(), model.resolve(), work.resolve(), port)
        try:
            peer.prepare(place)
        except Exception as error:
            raise SideError(f"its preparation failed: {type(error).__name__}: {error}") from error
        self._peer, self._port = peer, port
        begin = time.perf_counter()
        self._program = Program(peer.command(place), work / "log.txt", _VARIABLES | peer.variables, work)
        super().__init__(name, port, peer.path, peer.body, peer.vector, self._program.tree)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.perf_counter() - begin

    def pause(self) -> None:
        """Stop its processes where they are, so that an idle server takes nothing from the one that is measured."""
        if not self._peer.alone:
            self._program.tree.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        if not self._peer.alone:
            self._program.tree.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self._program.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._program.ended():
                raise SideError(f"it ended:\n{self._program.last_lines()}")
            try:
                self.answer("ready?")
            except (OSError, SideError, http.client.HTTPException):
                time.sleep(_PROBE_S)
            else:
                return
        raise SideError(f"it wasn't ready within {_READY_TIMEOUT_S:.0f} s:\n{self._program.last_lines()}")


def _figures_of(level: Level) -> Figures:
    return Figures(
        texts_per_s=level.throughput_per_s,
        p50_ms=level.latency.p50_us / 1000,
        p99_ms=level.latency.p99_us / 1000,
        cpu_ms=0.0,
        failed=sum(failure.count for failure in level.failures),
        generator_cores=level.client_cpu,
    )
