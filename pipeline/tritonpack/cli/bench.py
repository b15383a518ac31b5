"""`tritonpack bench`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonpack.cli.output import json_option, print_json, stderr, stdout, table_from_rows
from tritonpack.endpoint import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tritonpack.loadtest.driver import Beside, LoadPlan, LoadTest, Progress
    from tritonpack.loadtest.figures import Axis
    from tritonpack.loadtest.install import PerfAnalyzer
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.traffic import Load

_US_PER_MS = 1000
_CONCURRENCIES = (1, 4, 16)
_DURATION_S = 9.0
_VERDICT_STYLES = {"better": "green", "worse": "red", "noise": "dim"}


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
@click.option("--concurrency", "concurrencies", type=_Concurrencies(), metavar="N,N,...",
              help="Requests in flight; one run each. Default: 1,4,16.")  # fmt: skip
@click.option("--traffic", metavar="SPEC",
              help="What arrives instead: poisson:RATE, constant:RATE, steps:RATE,RATE,..., "
                   "spikes:RATE,PEAK[,EVERY,LENGTH] or soak:TIME@RATE, rates in requests a second.")  # fmt: skip
@click.option("--slo", metavar="SLO", help="Search the highest rate that keeps an objective such as 'p99<=25ms'.")
@click.option("--url", default=DEFAULT_URL, show_default=True, metavar="HOST:PORT", help="The server's gRPC endpoint.")
@click.option("--texts", "texts_file", type=click.Path(path_type=Path), metavar="FILE",
              help="One text a line; a pair has a tabulator between. Default: 200 English texts.")  # fmt: skip
@click.option("--lengths", metavar="SPEC",
              help="Cut the texts to so many words: lognormal:MEDIAN,SIGMA, uniform:LEAST,MOST, fixed:WORDS or "
                   "file:FILE.")  # fmt: skip
@click.option("--duration", "duration_s", type=float, metavar="S",
              help="Seconds that each load is measured. Default: 9, or what the traffic says.")  # fmt: skip
@click.option("--generator", type=click.Choice(["perf_analyzer", "python"]),
              help="What sends the requests. Default: perf_analyzer, for rates python.")  # fmt: skip
@click.option("--through", type=click.Choice(["sdk-python", "sdk-python-async", "sdk-typescript"]),
              help="Send through a client library, and say what it costs beside the generator. sdk-python sends "
                   "from threads.")  # fmt: skip
@click.option("--against", "against_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Hold this run against another, by the JSON that it wrote.")  # fmt: skip
@click.option("--report", "report_folder", type=click.Path(path_type=Path), default=Path("reports"),
              show_default=True, metavar="DIR", help="Where the JSON and the HTML go.")  # fmt: skip
@json_option
def bench(
    model: str,
    concurrencies: tuple[int, ...] | None,
    traffic: str | None,
    slo: str | None,
    url: str,
    texts_file: Path | None,
    lengths: str | None,
    duration_s: float | None,
    generator: str | None,
    through: str | None,
    against_file: Path | None,
    report_folder: Path,
    as_json: bool,
) -> None:
    """Load-test the served MODEL: table, JSON and HTML.

    Each request carries one text. The first call installs perf_analyzer below tritonpack's home unless
    one is on PATH; --generator python needs none.
    """
    from tritonpack.core.machine import this_machine
    from tritonpack.loadtest.comparison import document_from_file
    from tritonpack.loadtest.driver import check_plan, run_load_test
    from tritonpack.loadtest.lengths import parse_lengths, texts_of_lengths
    from tritonpack.loadtest.report import write_report
    from tritonpack.loadtest.texts import DEFAULT_TEXTS, summary_from_texts, texts_from_file

    plan = _plan(model, url, concurrencies, traffic, slo, duration_s, through)
    check_plan(plan)
    texts = texts_from_file(texts_file or DEFAULT_TEXTS)
    if lengths:
        texts = texts_of_lengths(texts, parse_lengths(lengths))
    # Read before the report is written: it may be the file that this run's report replaces.
    against = document_from_file(against_file) if against_file else None
    perf_analyzer = _perf_analyzer(generator, plan)
    with _progress(plan) as progress:
        test = run_load_test(perf_analyzer, plan, texts, progress)
    summary = summary_from_texts(texts, (texts_file or DEFAULT_TEXTS).name, lengths or "")
    files = write_report(report_folder, test, summary, this_machine(), against)
    if as_json:
        print_json(files.document | {"report": {"json": files.json, "html": files.html}})
        return
    _print_test(test, files.document)
    stdout().print(f"report  {files.html}", markup=False)


def _plan(
    model: str,
    url: str,
    concurrencies: tuple[int, ...] | None,
    traffic: str | None,
    slo: str | None,
    duration_s: float | None,
    through: str | None,
) -> LoadPlan:
    """Put the plan together; the options that say what arrives exclude one another."""
    from tritonpack.core.errors import ConfigurationError
    from tritonpack.loadtest.driver import LoadPlan
    from tritonpack.loadtest.slo import parse_slo
    from tritonpack.loadtest.through import find_sdk
    from tritonpack.loadtest.traffic import parse_traffic

    given = {"--concurrency": concurrencies, "--traffic": traffic, "--slo": slo}
    if len(named := [option for option, value in given.items() if value is not None]) > 1:
        raise ConfigurationError(
            f"{' and '.join(named)} exclude one another", hint="each of them says what the server is sent: give one"
        )
    arrives = parse_traffic(traffic) if traffic is not None else None
    if arrives and arrives.duration_s and duration_s:
        raise ConfigurationError(
            f"--traffic {traffic} says how long it lasts, and --duration {duration_s:g} does too",
            hint="leave --duration out",
        )
    seconds = duration_s if duration_s is not None else (arrives and arrives.duration_s) or _DURATION_S
    return LoadPlan(
        model,
        _CONCURRENCIES if concurrencies is None else concurrencies,
        seconds,
        url,
        arrives.loads if arrives else (),
        parse_slo(slo) if slo is not None else None,
        through=find_sdk(through) if through else None,
    )


def _perf_analyzer(generator: str | None, plan: LoadPlan) -> PerfAnalyzer | None:
    """perf_analyzer, installed if need be; None for the generator in Python."""
    from tritonpack.core.errors import LoadTestError
    from tritonpack.loadtest.install import ensure_perf_analyzer
    from tritonpack.loadtest.perf_analyzer import check_loads, suits

    if generator == "python" or (generator is None and not suits(plan.measured, plan.slo)):
        return None
    check_loads(plan.measured, plan.slo)
    console = stderr()
    try:
        return ensure_perf_analyzer(lambda line: console.print(line, markup=False))
    except LoadTestError as error:
        # Where perf_analyzer doesn't run, the library's overhead is measured all the same.
        if generator is not None or not plan.through:
            raise
        console.print(f"{error.message}; the generator in Python takes its place", markup=False)
        return None


@contextmanager
def _progress(plan: LoadPlan) -> Iterator[Progress]:
    """One bar for the whole test; a run takes a little longer than its windows, and a search as long as it takes."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    loads = plan.measured
    with Progress(*columns, console=stderr(), transient=True) as bars:
        load_s = plan.duration_s * (2 if plan.through else 1)
        task = bars.add_task("warming up", total=None if plan.slo else load_s * len(loads))

        def advance(load: Load, elapsed_s: float) -> None:
            if plan.slo:
                bars.update(task, description=f"{plan.slo}: {load.label}")
                return
            done_s = loads.index(load) * load_s + min(elapsed_s, load_s)
            bars.update(task, completed=done_s, description=load.label)

        yield advance


def _print_test(test: LoadTest, document: Mapping[str, Any]) -> None:
    from tritonpack.loadtest.charts import change
    from tritonpack.loadtest.figures import axis_of_levels

    axis = axis_of_levels(test.levels)
    times = [f">{name}, ms" for name in ("p50", "p90", "p99", "queue", "compute")]
    title = f"{test.plan.model} on {test.server}, one text a request, {test.plan.duration_s:g} s each"
    columns = [f">{axis.column}", ">throughput, /s", ">failed", *times]
    rows = [(name, *_cells(level)) for name, level in zip(axis.ticks, test.levels, strict=True)]
    console = stdout()
    console.print(table_from_rows(title, columns, rows))
    if test.beside:
        _print_overheads(test, test.beside, axis)
    for level, phrase in zip(test.levels, axis.phrases, strict=True):
        for failure in level.failures:
            line = f"at {phrase}: {failure.count:,} {failure.status}: {failure.message}"
            console.print(line, markup=False)
    for level in document["levels"]:
        for trend in level["trends"]:
            grows, low, high = (change(trend[name]) for name in ("per_hour", "low", "high"))
            line = f"{trend['figure']}: {grows} an hour ({low} to {high}): {trend['verdict']}"
            console.print(line, markup=False)
    if test.search:
        rate = f"{test.search.rate_per_s:.1f} requests/s" if test.search.rate_per_s else "no rate"
        console.print(f"{rate} inside {test.search.slo}, {len(test.search.steps)} measurements", markup=False)
    if document["against"]:
        _print_comparison(document["against"])


def _cells(level: Level) -> tuple[str, ...]:
    failed = sum(failure.count for failure in level.failures)
    return (
        f"{level.throughput_per_s:.1f}",
        f"{failed:,}" if failed else "",
        *(_ms(getattr(level.latency, f"p{percent}_us")) for percent in (50, 90, 99)),
        _ms(level.queue_us),
        _ms(level.compute_us),
    )


def _print_overheads(test: LoadTest, beside: Beside, axis: Axis) -> None:
    """What the client library costs beside the generator."""
    rows = [
        (
            tick,
            f"{level.throughput_per_s:.1f}",
            f"{cost.throughput_ratio:.3f}",
            f"{cost.p50_ms:+.2f}",
            f"{cost.p99_ms:+.2f}",
            f"{cost.cpu_us:.0f}",
            "" if cost.generator_cpu_us is None else f"{cost.generator_cpu_us:.0f}",
        )
        for tick, level, cost in zip(axis.ticks, beside.levels, test.overheads, strict=True)
    ]
    columns = [">generator, /s", ">ratio", ">p50, ms more", ">p99, ms more", ">CPU µs/request", ">generator, µs"]
    title = f"{test.generator}, beside {beside.generator}"
    stdout().print(table_from_rows(title, [f">{axis.column}", *columns], rows))


def _print_comparison(against: Mapping[str, Any]) -> None:
    console = stdout()
    rows = [
        (
            load["load"],
            ratio["figure"],
            f"{ratio['ratio']:.3f}",
            f"{ratio['low']:.3f} to {ratio['high']:.3f}",
            f"[{_VERDICT_STYLES[ratio['verdict']]}]{ratio['verdict']}[/]",
        )
        for load in against["loads"]
        for ratio in load["ratios"]
    ]
    title = f"Against the run of {against['started_at']}"
    console.print(table_from_rows(title, ["load", "figure", ">ratio", ">95% interval", "verdict"], rows))
    for difference in against["differences"]:
        console.print(f"mind: {difference}", markup=False)


def _ms(microseconds: float) -> str:
    return f"{microseconds / _US_PER_MS:.1f}"
