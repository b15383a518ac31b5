"""Drive perf_analyzer: one run for each load, real texts, three windows."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tritonpack.core.errors import ConfigurationError, LoadTestError
from tritonpack.loadtest.perf_files import level_from_files
from tritonpack.loadtest.records import WINDOWS
from tritonpack.loadtest.traffic import Arrivals, Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tritonpack.loadtest.install import PerfAnalyzer
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.slo import Slo
    from tritonpack.loadtest.traffic import Load

_POLL_INTERVAL_S = 0.2
_START_ALLOWANCE_S = 60.0
_ERROR_LINES = 6
# perf_analyzer calls three windows stable if they differ by at most so many percent. A short run is reported
# with the noise that it has; an "unstable" run would be thrown away without a figure.
_STABILITY_PERCENT = 999


def suits(loads: Sequence[Load], slo: Slo | None) -> bool:
    """Whether perf_analyzer is the one to measure this: it takes latencies from when a request was sent.

    Where requests come at a rate, one that was sent late would look fast.
    """
    return slo is None and all(isinstance(load, Closed) for load in loads)


def check_loads(loads: Sequence[Load], slo: Slo | None) -> None:
    """Refuse what perf_analyzer can't measure.

    Raises:
        ConfigurationError: a rate changes while it's measured, or an objective is searched for.
    """
    changing = [load.label for load in loads if isinstance(load, Arrivals) and load.spikes]
    why = f"send {changing[0]}: its rate stays the same" if changing else ""
    if slo:
        why = f"search {slo}: its latencies leave out how late a request was sent"
    if why:
        raise ConfigurationError(
            f"perf_analyzer can't {why}", hint="take the other generator: --generator python", field="generator"
        )


def perf_analyzer_arguments(
    model: str, url: str, load: Load, duration_s: float, data: Path, table: Path, profile: Path
) -> list[str]:
    """Write the arguments of one run.

    Source: https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/cli.md
    """
    return [
        "-m", model,
        "-i", "grpc",
        "-u", url,
        "-b", "1",
        *_load_arguments(load),
        "--input-data", str(data),
        "--measurement-mode", "time_windows",
        "--measurement-interval", str(window_ms(duration_s)),
        "--max-trials", str(WINDOWS),
        "--stability-percentage", str(_STABILITY_PERCENT),
        # Names without a folder: the tables of composing models get a prefix before the whole of it.
        "-f", table.name,
        "--profile-export-file", profile.name,
    ]  # fmt: skip


def window_ms(duration_s: float) -> int:
    """The length of one window."""
    return max(1, round(duration_s * 1000 / WINDOWS))


def measure(
    perf_analyzer: PerfAnalyzer,
    model: str,
    url: str,
    load: Load,
    duration_s: float,
    data: Path,
    folder: Path,
    progress: Callable[[float], None],
) -> Level:
    """Run it once.

    Args:
        perf_analyzer: how it's started.
        model: the model's name.
        url: of the gRPC endpoint.
        load: one that `check_loads` lets pass.
        duration_s: of the three windows together.
        data: what ``--input-data`` takes.
        folder: an empty one for its files.
        progress: called several times a second with the seconds since it began.

    Raises:
        LoadTestError: it failed.
    """
    table, profile, summary = folder / "level.csv", folder / "profile.json", folder / "output.txt"
    arguments = perf_analyzer_arguments(model, url, load, duration_s, data, table, profile)
    with summary.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*perf_analyzer.command, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=perf_analyzer.environment(),
        )
        try:
            _wait(process, load, duration_s, progress)
        finally:
            process.kill()
            process.wait()
    printed = summary.read_text(encoding="utf-8", errors="replace")
    # The start script of perf_analyzer 2.60 returns 0 whatever happened, so the file decides.
    if process.returncode or not table.is_file():
        raise _failure(printed, load, process.returncode)
    return level_from_files(table, profile, printed, load)


def _load_arguments(load: Load) -> list[str]:
    if isinstance(load, Closed):
        return ["--concurrency-range", f"{load.concurrency}:{load.concurrency}:1"]
    distribution = "poisson" if load.poisson else "constant"
    rate = f"{load.rate_per_s:g}"
    return ["--request-rate-range", f"{rate}:{rate}:1", "--request-distribution", distribution]


def _wait(process: subprocess.Popen[bytes], load: Load, duration_s: float, progress: Callable[[float], None]) -> None:
    started = time.monotonic()
    limit_s = 2 * duration_s + _START_ALLOWANCE_S
    while process.poll() is None:
        elapsed_s = time.monotonic() - started
        if elapsed_s > limit_s:
            raise LoadTestError(
                f"perf_analyzer did not end within {limit_s:.0f} s under {load.label}",
                hint="the server may hang: `tritonpack status` and its log say more",
            )
        progress(elapsed_s)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_INTERVAL_S)


def _failure(printed: str, load: Load, returncode: int) -> LoadTestError:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    reasons = [line for line in lines if "error" in line.lower() or "failed" in line.lower()] or lines
    hint = "the server's log may say more"
    if "No valid requests recorded" in printed:
        hint = "no request was answered within a window: give it more time, e.g. --duration 60"
    return LoadTestError(
        f"perf_analyzer failed under {load.label} (exit code {returncode}):\n" + "\n".join(reasons[-_ERROR_LINES:]),
        hint=hint,
        load=load.label,
    )
