"""Drive perf_analyzer: one run for each concurrency, real texts, three windows."""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import ConfigurationError, LoadTestError
from tritonpack.endpoint import DEFAULT_URL, connected, served_limits
from tritonpack.inference import text_inputs
from tritonpack.loadtest.results import level_from_files
from tritonpack.loadtest.texts import rows_of_texts, write_input_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack.loadtest.install import PerfAnalyzer
    from tritonpack.loadtest.results import Level
    from tritonpack_client import Client

    Progress = Callable[[int, float], None]
    """Called with the concurrency that is measured now and the seconds since its run began."""

WINDOWS = 3
_WARM_UP_S = 1.0
_POLL_INTERVAL_S = 0.2
_START_ALLOWANCE_S = 60.0
_ERROR_LINES = 6
# perf_analyzer calls three windows stable if they differ by at most so many percent. A short run is reported
# with the noise that it has; an "unstable" run would be thrown away without a figure.
_STABILITY_PERCENT = 999


@dataclass(frozen=True)
class LoadPlan:
    """What is measured.

    Attributes:
        concurrencies: requests in flight, one run each.
        duration_s: how long each concurrency is measured, three windows together.
        url: ``host:port`` of the server's gRPC endpoint.
    """

    model: str
    concurrencies: tuple[int, ...] = (1, 4, 16)
    duration_s: float = 9.0
    url: str = DEFAULT_URL

    @property
    def window_ms(self) -> int:
        """The length of one window."""
        return max(1, round(self.duration_s * 1000 / WINDOWS))


@dataclass(frozen=True)
class LoadTest:
    """What was measured.

    Attributes:
        server: name and version that the server gives.
        started_at: UTC, ISO 8601.
        perf_analyzer: its version.
    """

    plan: LoadPlan
    server: str
    started_at: str
    perf_analyzer: str
    levels: tuple[Level, ...]


def run_load_test(
    perf_analyzer: PerfAnalyzer, plan: LoadPlan, texts: Sequence[str], progress: Progress | None = None
) -> LoadTest:
    """Measure a served model, one row a request.

    Args:
        perf_analyzer: from ``ensure_perf_analyzer``.
        plan: what to measure.
        texts: what to send, again and again in the same shuffled order; several texts of one request
            are separated by tabulators.
        progress: called several times a second.

    Raises:
        ConfigurationError: the server has no such model, or it takes no texts.
        ServerError: no server answers, or a request failed.
        LoadTestError: perf_analyzer failed.
    """
    check_plan(plan)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    with connected(plan.url) as client:
        rows = rows_of_texts(texts, text_inputs(served_limits(client, plan.model)))
        server = client.server()
        _warm_up(client, plan.model, rows)
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        data = Path(folder, "texts.json")
        write_input_data(data, rows)
        levels = [_measure(perf_analyzer, plan, level, data, progress) for level in plan.concurrencies]
    return LoadTest(plan, server, started_at, perf_analyzer.version, tuple(levels))


def check_plan(plan: LoadPlan) -> None:
    """Refuse what perf_analyzer would misunderstand.

    Raises:
        ConfigurationError: no concurrency, one below 1 or twice, or no time.
    """
    levels = plan.concurrencies
    if not levels or min(levels) < 1 or len(set(levels)) < len(levels):
        raise ConfigurationError(
            f"concurrency takes different whole numbers from 1 on, not {', '.join(map(str, levels)) or 'nothing'}",
            hint="Example: --concurrency 1,4,16",
        )
    if not plan.duration_s > 0:
        raise ConfigurationError(f"the duration must be above 0 s, not {plan.duration_s:g} s")


def perf_analyzer_arguments(plan: LoadPlan, concurrency: int, data: Path, table: Path, profile: Path) -> list[str]:
    """Write the arguments of one run.

    Source: https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/cli.md
    """
    return [
        "-m", plan.model,
        "-i", "grpc",
        "-u", plan.url,
        "-b", "1",
        "--concurrency-range", f"{concurrency}:{concurrency}:1",
        "--input-data", str(data),
        "--measurement-mode", "time_windows",
        "--measurement-interval", str(plan.window_ms),
        "--max-trials", str(WINDOWS),
        "--stability-percentage", str(_STABILITY_PERCENT),
        # Names without a folder: the tables of composing models get a prefix before the whole of it.
        "-f", table.name,
        "--profile-export-file", profile.name,
    ]  # fmt: skip


def _measure(
    perf_analyzer: PerfAnalyzer, plan: LoadPlan, concurrency: int, data: Path, progress: Progress | None
) -> Level:
    folder = data.parent / str(concurrency)
    folder.mkdir()
    table, profile, summary = folder / "level.csv", folder / "profile.json", folder / "output.txt"
    command = [*perf_analyzer.command, *perf_analyzer_arguments(plan, concurrency, data, table, profile)]
    with summary.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=perf_analyzer.environment()
        )
        try:
            _wait(process, plan, concurrency, progress)
        finally:
            process.kill()
            process.wait()
    printed = summary.read_text(encoding="utf-8", errors="replace")
    # The start script of perf_analyzer 2.60 returns 0 whatever happened, so the file decides.
    if process.returncode or not table.is_file():
        raise _failure(printed, concurrency, process.returncode)
    return level_from_files(table, profile, printed)


def _wait(process: subprocess.Popen[bytes], plan: LoadPlan, concurrency: int, progress: Progress | None) -> None:
    started = time.monotonic()
    limit_s = 2 * plan.duration_s + _START_ALLOWANCE_S
    while process.poll() is None:
        elapsed_s = time.monotonic() - started
        if elapsed_s > limit_s:
            raise LoadTestError(
                f"perf_analyzer did not end within {limit_s:.0f} s at concurrency {concurrency}",
                hint="the server may hang: `tritonpack status` and its log say more",
            )
        if progress:
            progress(concurrency, elapsed_s)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_INTERVAL_S)


def _failure(printed: str, concurrency: int, returncode: int) -> LoadTestError:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    reasons = [line for line in lines if "error" in line.lower() or "failed" in line.lower()] or lines
    hint = "the server's log may say more"
    if "No valid requests recorded" in printed:
        hint = "no request was answered within a window: give it more time, e.g. --duration 60"
    return LoadTestError(
        f"perf_analyzer failed at concurrency {concurrency} (exit code {returncode}):\n"
        + "\n".join(reasons[-_ERROR_LINES:]),
        hint=hint,
        concurrency=concurrency,
    )


def _warm_up(client: Client, model: str, rows: Sequence[dict[str, str]]) -> None:
    """Send rows for a second: first requests pay for memory, and a bad one fails here with a clear error."""
    deadline = time.monotonic() + _WARM_UP_S
    for row in cycle(rows):
        client.infer(model, {name: np.array([[text]], dtype=np.object_) for name, text in row.items()})
        if time.monotonic() >= deadline:
            return
