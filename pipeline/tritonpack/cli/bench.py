"""`tritonpack bench`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonpack.cli.output import json_option, print_json, stderr, stdout, table_from_rows
from tritonpack.endpoint import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tritonpack.loadtest.driver import LoadPlan, LoadTest, Progress

_US_PER_MS = 1000


class _Concurrencies(click.ParamType[tuple[int, ...]]):
    """Whole numbers, separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read ``1,4,16``."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers such as 1,4,16", param, ctx)


@click.command()
@click.argument("model")
@click.option("--concurrency", "concurrencies", type=_Concurrencies(), default="1,4,16", show_default=True,
              metavar="N,N,...", help="Requests in flight; one run each.")  # fmt: skip
@click.option("--url", default=DEFAULT_URL, show_default=True, metavar="HOST:PORT", help="The server's gRPC endpoint.")
@click.option("--texts", "texts_file", type=click.Path(path_type=Path), metavar="FILE",
              help="One text a line; a pair has a tabulator between. Default: 200 English texts.")  # fmt: skip
@click.option("--duration", "duration_s", type=float, default=9.0, show_default=True, metavar="S",
              help="Seconds that each concurrency is measured, in three windows.")  # fmt: skip
@click.option("--report", "report_folder", type=click.Path(path_type=Path), default=Path("reports"),
              show_default=True, metavar="DIR", help="Where the JSON and the HTML go.")  # fmt: skip
@json_option
def bench(
    model: str,
    concurrencies: tuple[int, ...],
    url: str,
    texts_file: Path | None,
    duration_s: float,
    report_folder: Path,
    as_json: bool,
) -> None:
    """Load-test the served MODEL with perf_analyzer: table, JSON and HTML.

    Each request carries one text. The first call installs perf_analyzer below tritonpack's home unless
    one is on PATH.
    """
    from tritonpack.core.machine import this_machine
    from tritonpack.loadtest.driver import LoadPlan, check_plan, run_load_test
    from tritonpack.loadtest.install import ensure_perf_analyzer
    from tritonpack.loadtest.report import document_from_test, write_report
    from tritonpack.loadtest.texts import DEFAULT_TEXTS, summary_from_texts, texts_from_file

    plan = LoadPlan(model, concurrencies, duration_s, url)
    check_plan(plan)
    texts = texts_from_file(texts_file or DEFAULT_TEXTS)
    console = stderr()
    perf_analyzer = ensure_perf_analyzer(lambda line: console.print(line, markup=False))
    with _progress(plan) as progress:
        test = run_load_test(perf_analyzer, plan, texts, progress)
    summary, machine = summary_from_texts(texts, (texts_file or DEFAULT_TEXTS).name), this_machine()
    files = write_report(report_folder, test, summary, machine)
    if as_json:
        document = document_from_test(test, summary, machine)
        print_json(document | {"report": {"json": files.json, "html": files.html}})
        return
    _print_test(test)
    stdout().print(f"report  {files.html}", markup=False)


@contextmanager
def _progress(plan: LoadPlan) -> Iterator[Progress]:
    """One bar for the whole test; a run takes a little longer than its windows."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=stderr(), transient=True) as bars:
        task = bars.add_task("warming up", total=plan.duration_s * len(plan.concurrencies))

        def advance(concurrency: int, elapsed_s: float) -> None:
            done_s = plan.concurrencies.index(concurrency) * plan.duration_s + min(elapsed_s, plan.duration_s)
            bars.update(task, completed=done_s, description=f"concurrency {concurrency}")

        yield advance


def _print_test(test: LoadTest) -> None:
    rows = [
        (
            level.concurrency,
            f"{level.throughput_per_s:.1f}",
            *(_ms(getattr(level.latency, f"p{percent}_us")) for percent in (50, 90, 99)),
            _ms(level.queue_us),
            _ms(level.compute_us),
        )
        for level in test.levels
    ]
    times = [f">{name}, ms" for name in ("p50", "p90", "p99", "queue", "compute")]
    title = f"{test.plan.model} on {test.server}, one text a request, {test.plan.duration_s:g} s each"
    stdout().print(table_from_rows(title, [">concurrency", ">throughput, /s", *times], rows))


def _ms(microseconds: float) -> str:
    return f"{microseconds / _US_PER_MS:.1f}"
