"""Two load tests side by side: the ratio of their figures, and whether it's more than noise.

Throughput and latency of one run vary over its time, so slices of time are what is drawn anew (bootstrap), with all
their requests: requests of one second have the same luck. What differs between two runs and stays the same within
each (another neighbour on the machine, another clock rate) isn't in the interval; a margin stands for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 2
"""Of the document; the first format had no slices of time."""
MARGIN = 0.03
"""Two runs of the same thing differ by so much."""
_RESAMPLES = 1000
_SEED = 7
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """A figure of this run divided by that of the other.

    Attributes:
        figure: ``throughput``, ``p50`` or ``p99``.
        before: the other run's, requests a second or µs.
        now: this run's.
        low: of the 95% interval of the ratio.
        high: and its other end.
        verdict: ``better``, ``worse`` or ``noise``.
    """

    figure: str
    before: float
    now: float
    ratio: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One load of both runs.

    Attributes:
        load: its label.
        ratios: throughput, p50, p99.
    """

    load: str
    ratios: tuple[Ratio, ...]


def document_from_file(path: Path) -> dict[str, Any]:
    """Read a report that `tritonpack bench` wrote.

    Raises:
        SourceError: it can't be read, or isn't one of this format.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}", hint="--against takes a JSON that bench wrote") from error
    except ValueError as error:
        raise SourceError(f"{path} isn't JSON: {error}", hint="--against takes a JSON that bench wrote") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT or not isinstance(document.get("levels"), list):
        raise SourceError(
            f"{path} isn't a load test of format {FORMAT}" + (f", but of format {found}" if found else ""),
            hint="measure it anew with `tritonpack bench`, which writes <model>-bench.json",
        )
    return dict(document)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What else than the model's speed differs between two documents, in words."""
    pairs = {
        "model": (before["model"], now["model"]),
        "generator": (before["generator"], now["generator"]),
        "server": (before["server"], now["server"]),
        "processor": (before["machine"]["cpu"], now["machine"]["cpu"]),
        "cores": (before["machine"]["cores"], now["machine"]["cores"]),
        "texts": (_texts(before), _texts(now)),
    }
    return [f"{name}: {old} before, {new} now" for name, (old, new) in pairs.items() if old != new]


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Compare the loads that two documents share.

    Raises:
        ConfigurationError: they share none, or one has no slices of time.
    """
    olds = {level["load"]: level for level in before["levels"]}
    shared = [(olds[level["load"]], level) for level in now["levels"] if level["load"] in olds]
    if not shared:
        raise ConfigurationError(
            f"the runs have no load in common: {', '.join(olds)} before, "
            f"{', '.join(level['load'] for level in now['levels'])} now",
            hint="give both the same --concurrency or --traffic",
        )
    return tuple(Comparison(new["load"], _ratios(old, new)) for old, new in shared)


def _ratios(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Ratio, ...]:
    drawn = [_drawn(level["slices"], _SEED + number) for number, level in enumerate((old, new))]
    figures = {
        "throughput": (old["throughput_per_s"], new["throughput_per_s"]),
        "p50": (old["latency"]["p50_us"], new["latency"]["p50_us"]),
        "p99": (old["latency"]["p99_us"], new["latency"]["p99_us"]),
    }
    ratios = []
    for column, (figure, (was, is_now)) in enumerate(figures.items()):
        with np.errstate(divide="ignore", invalid="ignore"):
            resampled = drawn[1][:, column] / drawn[0][:, column]
        low, high = np.nanpercentile(resampled, [50 * (1 - _CONFIDENCE), 50 * (1 + _CONFIDENCE)])
        ratio = is_now / was
        verdict = _verdict(ratio, float(low), float(high), more_is_better=figure == "throughput")
        ratios.append(Ratio(figure, was, is_now, round(ratio, 4), round(float(low), 4), round(float(high), 4), verdict))
    return tuple(ratios)


def _verdict(ratio: float, low: float, high: float, *, more_is_better: bool) -> str:
    if low <= 1 + MARGIN and high >= 1 - MARGIN:
        return "noise"
    return "better" if (ratio > 1) == more_is_better else "worse"


def _drawn(slices: Sequence[Mapping[str, Any]], seed: int) -> NDArray[np.float64]:
    """Throughput, p50 and p99 of resampled slices, ``(resamples, 3)``."""
    if not slices:
        raise ConfigurationError(
            "a run has no slices of time: its generator kept no record of every request",
            hint="measure both runs with --generator python",
        )
    rng = np.random.default_rng(seed)
    answered = np.array([part["answered"] for part in slices], dtype=np.float64)
    durations = np.array([part["duration_s"] for part in slices])
    # Each slice stands for its requests by its 101 percentiles, which share their number between them.
    quantiles = np.array([part["quantiles_us"] or [0.0] * 101 for part in slices])
    places = rng.integers(0, len(slices), (_RESAMPLES, len(slices)))
    throughput = answered[places].sum(axis=1) / durations[places].sum(axis=1)
    p50, p99 = np.array([_percentiles(quantiles[chosen], answered[chosen]) for chosen in places]).T
    return np.stack([throughput, p50, p99], axis=1)


def _percentiles(quantiles: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """The 50th and 99th percentile of slices together."""
    values = quantiles.ravel()
    order = np.argsort(values)
    reached = np.cumsum(np.repeat(weights, quantiles.shape[1])[order])
    if not reached[-1]:
        return np.nan, np.nan
    p50, p99 = (values[order][np.searchsorted(reached, share * reached[-1])] for share in (0.5, 0.99))
    return float(p50), float(p99)


def _texts(document: Mapping[str, Any]) -> str:
    texts = document["texts"]
    return f"{texts['count']} of {texts['words_mean']} words on average"
