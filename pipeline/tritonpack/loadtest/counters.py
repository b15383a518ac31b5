"""What the server itself counts: time in queues and in models, and how many rows an execution had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import ServerError
from tritonpack.loadtest.results import StageTime

if TYPE_CHECKING:
    from collections.abc import Mapping

_NS_PER_US = 1000
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Counts:
    """What one model has done since it was loaded; times in ns."""

    requests: int = 0
    rows: int = 0
    executions: int = 0
    queue_ns: int = 0
    compute_ns: int = 0

    def since(self, earlier: Counts) -> Counts:
        """What it has done since then."""
        return Counts(
            self.requests - earlier.requests,
            self.rows - earlier.rows,
            self.executions - earlier.executions,
            self.queue_ns - earlier.queue_ns,
            self.compute_ns - earlier.compute_ns,
        )


class Counters:
    """The statistics of a model and of those that it's composed of.

    Args:
        url: ``host:port`` of the server's gRPC endpoint.
        model: the model's name.

    Raises:
        ServerError: the server doesn't tell.
    """

    def __init__(self, url: str, model: str) -> None:
        import tritonclient.grpc as triton

        self._model = model
        self._client = triton.InferenceServerClient(url)
        config = self._call("get_model_config", model).config
        self._stages = sorted({step.model_name for step in config.ensemble_scheduling.step})

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def read(self) -> dict[str, Counts]:
        """Read all counters, by the model's name."""
        statistics = self._call("get_inference_statistics")
        wanted = {self._model, *self._stages}
        # Of several versions the newest answers; the older ones' counters stand still and drop out of a difference.
        found = {name: Counts() for name in wanted}
        for entry in statistics.model_stats:
            if entry.name in wanted:
                found[entry.name] = _added(found[entry.name], entry)
        return found

    def times(self, earlier: Mapping[str, Counts]) -> tuple[float, float, tuple[StageTime, ...]]:
        """Mean queue and compute of a request since then, µs, and those of each stage."""
        now = self.read()
        counts = {name: now[name].since(earlier[name]) for name in now}
        stages = tuple(_stage_time(name, counts[name]) for name in self._stages)
        if stages:
            return sum(stage.queue_us for stage in stages), sum(stage.compute_us for stage in stages), stages
        whole = _stage_time(self._model, counts[self._model])
        return whole.queue_us, whole.compute_us, ()

    def _call(self, method: str, *arguments: str) -> Any:
        from tritonclient.utils import InferenceServerException

        try:
            return getattr(self._client, method)(*arguments, client_timeout=_TIMEOUT_S)
        except InferenceServerException as error:
            raise ServerError(f"the server doesn't tell its statistics: {error.message()}") from error


def _added(counts: Counts, entry: Any) -> Counts:
    times = entry.inference_stats
    compute = times.compute_input.ns + times.compute_infer.ns + times.compute_output.ns
    return Counts(
        counts.requests + times.success.count,
        counts.rows + entry.inference_count,
        counts.executions + entry.execution_count,
        counts.queue_ns + times.queue.ns,
        counts.compute_ns + compute,
    )


def _stage_time(model: str, counts: Counts) -> StageTime:
    requests = max(counts.requests, 1)
    return StageTime(
        model,
        round(counts.queue_ns / requests / _NS_PER_US, 1),
        round(counts.compute_ns / requests / _NS_PER_US, 1),
        counts.rows / counts.executions if counts.executions else None,
    )
