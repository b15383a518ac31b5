"""One model served in several ways, each by an embedded server of its own, under load by turns."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comparing.sides import Ours

from tritonpack.loadtest.traffic import Closed
from tritonpack.repository.config import DynamicBatching, InstanceGroup, InstanceKind, ModelConfig, Parameter
from tritonpack.repository.pbtxt import parse, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comparing.workloads import Workload

_LOADS = (Closed(1), Closed(32))
_SECONDS = 2.5
_WARM_UP_S = 1.0


@dataclass(frozen=True)
class Way:
    """A way of serving.

    Attributes:
        target: of the recipe.
        parameters: of the encoder, over those of the build.
        change: of the encoder's configuration.
    """

    name: str
    target: str = "int8_dynamic"
    one_process: bool = True
    parameters: tuple[tuple[str, str], ...] = ()
    change: Callable[[ModelConfig], ModelConfig] = lambda config: config


def _two_instances(config: ModelConfig) -> ModelConfig:
    return replace(config, instance_group=(InstanceGroup(2, InstanceKind.CPU),))


def _delayed(config: ModelConfig) -> ModelConfig:
    batching = config.dynamic_batching or DynamicBatching()
    return replace(config, dynamic_batching=replace(batching, max_queue_delay_microseconds=2000))


def _unbounded(config: ModelConfig) -> ModelConfig:
    return replace(config, dynamic_batching=DynamicBatching())


_SPIN = "session.intra_op.spin_duration_us"
WAYS = (
    Way("as built: one process, costs measured at load, 1 instance of 2 threads"),
    Way("a process for each step of the ensemble", one_process=False),
    Way("batches are never cut", parameters=(("call_cost", "1000000000"),)),
    Way("batches are cut where a quarter is padding", parameters=(("call_cost", "16"), ("max_padding_waste", "0.25"))),
    Way("calls of any size", parameters=(("max_call_tokens", "1000000000"),)),
    Way("2 instances of 1 thread", parameters=(("intra_op_thread_count", "1"),), change=_two_instances),
    Way("threads don't spin", parameters=((_SPIN, "0"),)),
    Way("threads spin for 1 ms", parameters=((_SPIN, "1000"),)),
    Way("batches wait 2 ms for company", change=_delayed),
    Way("no bounds of the queue", change=_unbounded),
    Way("ONNX Runtime, FP32", "fp32"),
    Way("OpenVINO, FP32", "ov_fp32"),
    Way("OpenVINO, bfloat16", "ov_bf16"),
    Way("OpenVINO, static INT8", "ov_int8"),
)


def measured_ways(
    repository: Path, model: str, work: Path, workload: Workload, rounds: int, report: Callable[[str], None]
) -> list[dict[str, object]]:
    """Start all servers, and put each under load by turns.

    Args:
        repository: holds the model, built for every target.
        model: the ensemble's name.
        work: for changed copies of the repository; files are linked.
        workload: what is asked, one text a request.
        rounds: how often.
        report: called with a line before each step.

    Returns:
        For each way its name, and by load its figures of each round.
    """
    shutil.rmtree(work, ignore_errors=True)
    with ExitStack() as stack:
        sides = []
        for number, way in enumerate(WAYS):
            report(f"starting: {way.name}")
            changed = _changed(repository, model, way, work / str(number))
            side = Ours(way.name, changed, model, config_name=way.target, one_process=way.one_process)
            stack.callback(side.stop)
            side.ask(workload, Closed(8), _WARM_UP_S)
            sides.append(side)
        found: list[dict[str, list[float]]] = [{} for _ in WAYS]
        for number in range(rounds):
            for load in _LOADS:
                report(f"round {number + 1}: {load.label}")
                for place, side in enumerate(sides):
                    figures = side.ask(workload, load, _SECONDS)
                    for name in ("texts_per_s", "p50_ms", "p99_ms", "cpu_ms"):
                        found[place].setdefault(f"{load.label} {name}", []).append(getattr(figures, name))
        return [{"name": way.name, **figures} for way, figures in zip(WAYS, found, strict=True)]


def _changed(repository: Path, model: str, way: Way, folder: Path) -> Path:
    """A copy of the repository whose encoder is configured in another way."""
    shutil.copytree(repository, folder, copy_function=os.link)
    file = folder / f"{model}_encoder" / "configs" / f"{way.target}.pbtxt"
    config = parse(file.read_text(encoding="utf-8"))
    given = {name: Parameter(value) for name, value in way.parameters}
    file.unlink()
    text = render(way.change(replace(config, parameters=config.parameters | given)))
    file.write_text(text, encoding="utf-8")
    return folder
