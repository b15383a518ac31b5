"""A load test as a JSON document and as one HTML page that needs nothing else."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import StoreError
from tritonpack.loadtest.charts import change, compact
from tritonpack.loadtest.comparison import FORMAT, compare, differences
from tritonpack.loadtest.figures import axis_of_levels, figures_from_levels
from tritonpack.loadtest.records import WINDOWS
from tritonpack.loadtest.stability import trends_from_level
from tritonpack.reports.page import page_from_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack.core.machine import Machine
    from tritonpack.loadtest.driver import LoadTest
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.texts import TextSummary

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_US_PER_MS = 1000
_NOISY_SPREAD = 0.25
_BUSY_CLIENT = 0.8


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written.

    Attributes:
        document: what the JSON holds.
    """

    json: Path
    html: Path
    document: dict[str, Any]


def document_from_test(
    test: LoadTest, texts: TextSummary, machine: Machine, against: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Gather everything that a reader needs to compare this test with another; times in microseconds.

    Args:
        test: what was measured.
        texts: what was sent.
        machine: where.
        against: the document of another run, to hold this one against.

    Raises:
        ConfigurationError: the two runs can't be compared.
    """
    document = {
        "format": FORMAT,
        "model": test.plan.model,
        "server": test.server,
        "url": test.plan.url,
        "started_at": test.started_at,
        "generator": test.generator,
        "measurement": {"windows": WINDOWS, "duration_s": test.plan.duration_s, "texts_per_request": 1},
        "command": command_from_test(test, texts),
        "texts": asdict(texts),
        "machine": asdict(machine),
        "levels": [
            level.as_dict() | {"trends": [asdict(trend) for trend in trends_from_level(level)]} for level in test.levels
        ],
        "search": None,
        "through": None,
        "against": None,
    }
    if test.plan.through and test.beside:
        document["through"] = {
            "sdk": test.plan.through.name,
            "generator": test.beside.generator,
            "overheads": [asdict(overhead) for overhead in test.overheads],
            "levels": [level.as_dict() for level in test.beside.levels],
        }
    if test.search:
        # An infinite value stands for "nothing was answered", and JSON has no infinity.
        steps = [
            asdict(step) | ({} if step.value_us < float("inf") else {"value_us": None}) for step in test.search.steps
        ]
        document["search"] = {"slo": str(test.search.slo), "rate_per_s": test.search.rate_per_s, "steps": steps}
    if against is not None:
        document["against"] = {
            "started_at": against["started_at"],
            "differences": differences(against, document),
            "loads": [asdict(comparison) for comparison in compare(against, document)],
        }
    return document


def write_report(
    folder: Path, test: LoadTest, texts: TextSummary, machine: Machine, against: Mapping[str, Any] | None = None
) -> ReportFiles:
    """Write ``<model>-bench.json`` and ``<model>-bench.html``.

    Raises:
        ConfigurationError: the run can't be compared with the one that it's held against.
        MissingExtraError: jinja2 isn't installed.
        StoreError: the folder can't be written.
    """
    document = document_from_test(test, texts, machine, against)
    name = f"{test.plan.model}-bench"
    files = ReportFiles(folder / f"{name}.json", folder / f"{name}.html", document)
    page = html_from_test(test, texts, machine, document["against"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.json.write_text(_json(document), encoding="utf-8")
        files.html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the report can't be written to {folder}: {error.strerror}", hint="name another folder with --report"
        ) from error
    return files


def html_from_test(
    test: LoadTest, texts: TextSummary, machine: Machine, against: Mapping[str, Any] | None = None
) -> str:
    """Draw the page.

    Args:
        test: what was measured.
        texts: what was sent.
        machine: where.
        against: what the document says of another run.

    Raises:
        MissingExtraError: jinja2 isn't installed.
    """
    axis = axis_of_levels(test.levels)
    phrases = list(zip(axis.phrases, test.levels, strict=True))
    rows = list(zip(axis.ticks, test.levels, strict=True))
    return page_from_template(
        _TEMPLATE,
        filters={"ms": lambda microseconds: f"{microseconds / _US_PER_MS:,.1f}", "change": change},
        hint="pip install 'tritonpack[loadtest]'",
        test=test,
        texts=texts,
        machine=machine,
        column=axis.column,
        rows=rows,
        costs=list(zip(rows, test.beside.levels, test.overheads, strict=True)) if test.beside else [],
        windows=WINDOWS,
        best=max(phrases, key=lambda pair: pair[1].throughput_per_s),
        shown=[phrases[0], phrases[-1]] if len(phrases) > 1 else phrases,
        figures=figures_from_levels(test.levels, test.search),
        against=against,
        trends=[(level.load, trend) for level in test.levels for trend in trends_from_level(level)],
        failures=[(level.load, failure) for level in test.levels for failure in level.failures],
        noisy=[phrase for phrase, level in phrases if spread(level) > _NOISY_SPREAD and not level.offered_per_s],
        busy=[phrase for phrase, level in phrases if level.client_cpu > _BUSY_CLIENT],
        command=command_from_test(test, texts),
        compact=compact,
    )


def command_from_test(test: LoadTest, texts: TextSummary) -> str:
    """Write the command that repeats this test."""
    plan = test.plan
    words = ["tritonpack", "bench", plan.model]
    if plan.slo:
        words += ["--slo", str(plan.slo)]
    elif plan.loads:
        kinds = [load.label.partition(":") for load in plan.loads]
        words += ["--traffic", f"{kinds[0][0]}:{','.join(rest for _, _, rest in kinds)}"]
    else:
        words += ["--concurrency", ",".join(str(level) for level in plan.concurrencies)]
    if texts.lengths:
        words += ["--lengths", texts.lengths]
    if plan.through:
        words += ["--through", plan.through.name]
    if not (test.beside or test).generator.startswith("perf_analyzer"):
        words += ["--generator", "python"]
    return shlex.join([*words, "--duration", f"{plan.duration_s:g}", "--url", plan.url])


def spread(level: Level) -> float:
    """How far the windows of one level lie apart, as a part of their mean; 0 if there is one window."""
    windows = level.window_throughput_per_s
    return (max(windows) - min(windows)) / (sum(windows) / len(windows)) if windows and sum(windows) else 0.0


def _json(document: Mapping[str, Any]) -> str:
    """Indented, with lists of numbers in one line: they are long, and nobody reads them by eye."""
    indented = json.dumps(document, indent=2)
    # A string has no raw line breaks in JSON, so this meets lists alone.
    return re.sub(r"\[\n([-+\d.eE,\s]+)\n\s*\]", lambda found: f"[{' '.join(found[1].split())}]", indented) + "\n"
