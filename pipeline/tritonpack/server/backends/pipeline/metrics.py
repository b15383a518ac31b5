"""Where an ensemble's time goes and how much of its work is padding, among the server's metrics.

    tritonpack_step_seconds_total{model, step}   seconds that a step has worked
    tritonpack_rows_total{model, step}           rows that the encoder has run
    tritonpack_calls_total{model, step}          calls of the engine that took
    tritonpack_elements_total{model, step}       elements of those rows: tokens, or samples of a sound
    tritonpack_cells_total{model, step}          the same with the padding that each call needs

A counter's increment is a message to the server, so a thread sends what has come together once a second.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steps import Step

_PERIOD_S = 1.0
_OF_ENCODER = {
    "rows": "Rows that the encoder has run",
    "calls": "Calls of the engine",
    "elements": "Elements of the rows that the encoder has run",
    "cells": "Elements of the rows that the encoder has run, padding included",
}


class Counters:
    """The counters of one instance."""

    def __init__(self, model: str, steps: Sequence[Step]) -> None:
        """Make the counters and start to send them.

        Args:
            model: the ensemble's name.
            steps: what is counted.
        """
        self.counted: list[tuple[Any, Callable[[], float]]] = []
        self.sent: list[float] = []
        self.families: list[Any] = []
        self._add("step_seconds", "Seconds that a step has worked", model, [(s, s, "seconds") for s in steps])
        for name, description in _OF_ENCODER.items():
            self._add(name, description, model, [(s, s.encoder, name) for s in steps if s.encoder is not None])
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._send_until_the_end, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Send the rest."""
        self.ending.set()
        self.thread.join()

    def _add(self, name: str, description: str, model: str, sources: list[tuple[Step, Any, str]]) -> None:
        kind = pb_utils.MetricFamily.COUNTER
        family = pb_utils.MetricFamily(name=f"tritonpack_{name}_total", description=description, kind=kind)
        self.families.append(family)
        for step, source, field in sources:
            metric = family.Metric(labels={"model": model, "step": step.name})
            self.counted.append((metric, lambda source=source, field=field: getattr(source, field)))
            self.sent.append(0.0)

    def _send_until_the_end(self) -> None:
        while not self.ending.wait(_PERIOD_S):
            self._send()
        self._send()

    def _send(self) -> None:
        for place, (metric, value) in enumerate(self.counted):
            now = value()
            if now > self.sent[place]:
                metric.increment(now - self.sent[place])
                self.sent[place] = now
