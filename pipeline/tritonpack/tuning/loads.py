"""The generators that a search can load a server with; both keep so many requests in flight."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from tritonpack.endpoint import connected, served_limits
from tritonpack.inference import text_inputs
from tritonpack.loadtest.driver import LoadPlan, run_load_test
from tritonpack.loadtest.texts import rows_of_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.loadtest.install import PerfAnalyzer
    from tritonpack.loadtest.results import Level

_WARM_UP_S = 0.5


class PerfAnalyzerLoad:
    """perf_analyzer.

    Args:
        perf_analyzer: from ``ensure_perf_analyzer``.
        texts: what is sent.
    """

    def __init__(self, perf_analyzer: PerfAnalyzer, texts: Sequence[str]) -> None:
        self._perf_analyzer = perf_analyzer
        self._texts = texts
        self.name = f"perf_analyzer {perf_analyzer.version}"

    def __call__(self, url: str, model: str, concurrency: int, duration_s: float) -> Level:
        """Load a model."""
        plan = LoadPlan(model, (concurrency,), duration_s, url)
        return run_load_test(self._perf_analyzer, plan, self._texts).levels[0]


class PythonLoad:
    """The generator that needs no program beside Python.

    Args:
        texts: what is sent.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self.name = f"tritonpack's generator in Python {platform.python_version()}"

    def __call__(self, url: str, model: str, concurrency: int, duration_s: float) -> Level:
        """Load a model."""
        from tritonpack.loadtest.generator import generate
        from tritonpack.loadtest.payloads import payloads_from_rows
        from tritonpack.loadtest.traffic import Closed

        with connected(url) as client:
            rows = rows_of_texts(self._texts, text_inputs(served_limits(client, model)))
        return generate(url, payloads_from_rows(model, rows), Closed(concurrency), duration_s, warm_up_s=_WARM_UP_S)
