"""The page and the document, from recorded files; the plots' arithmetic."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack.core.errors import StoreError
from tritonpack.core.machine import Machine, this_machine
from tritonpack.loadtest.charts import Series, change, compact, distribution_chart, line_chart, log_ticks, nice_ticks
from tritonpack.loadtest.driver import LoadPlan, LoadTest
from tritonpack.loadtest.perf_files import level_from_files
from tritonpack.loadtest.report import command_from_test, html_from_test, spread, write_report
from tritonpack.loadtest.results import Failure
from tritonpack.loadtest.slo import Search, Slo, Step
from tritonpack.loadtest.texts import TextSummary
from tritonpack.loadtest.traffic import Arrivals, Closed, Spikes

RECORDED = Path(__file__).parent / "data/perf_analyzer-2.50"
MACHINE = Machine("A <fast> CPU & more", 2, 25.8, "Linux x86_64", "glibc 2.36", "3.11.7", "0.1.0")
TEXTS = TextSummary("texts.txt", 200, 16.6, 95)


@pytest.fixture
def test_result():
    summary = (RECORDED / "output.txt").read_text(encoding="utf-8")
    level = level_from_files(RECORDED / "level.csv", RECORDED / "profile.json", summary, Closed(4))
    levels = (level, replace(level, concurrency=16, load="closed:16", throughput_per_s=300.0))
    return LoadTest(
        LoadPlan("minilm", (4, 16), 0.6), "triton 2.51.0", "2026-11-22T04:00:00+00:00", "perf_analyzer 2.50", levels
    )


def test_both_files_are_written(test_result, tmp_path):
    files = write_report(tmp_path / "new/reports", test_result, TEXTS, MACHINE)
    assert (files.json.name, files.html.name) == ("minilm-bench.json", "minilm-bench.html")
    document = json.loads(files.json.read_bytes())
    assert [level["concurrency"] for level in document["levels"]] == [4, 16]
    assert document["levels"][0]["latency"]["p50_us"] == 14595
    assert document["measurement"] == {"windows": 3, "duration_s": 0.6, "texts_per_request": 1}


def test_the_page_needs_nothing_else(test_result):
    page = html_from_test(test_result, TEXTS, MACHINE)
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<script|<link|https?:", page)
    assert "A &lt;fast&gt; CPU &amp; more" in page
    assert "tritonpack bench minilm --concurrency 4,16 --duration 0.6 --url 127.0.0.1:8001" in page


def test_every_plot_is_well_formed_and_holds_its_points(test_result):
    plots = re.findall(r"<svg.*?</svg>", html_from_test(test_result, TEXTS, MACHINE), re.DOTALL)
    assert len(plots) == 4
    trees = [ET.fromstring(plot) for plot in plots]  # noqa: S314  our own output
    assert [len(tree.findall("circle")) for tree in trees] == [2, 6, 0, 0]
    assert len(trees[2].findall("rect")) == 2 * 5
    assert len(trees[3].findall("polyline")) == 2


def test_without_a_record_of_every_request_the_distribution_is_left_out(test_result):
    bare = [
        replace(level, requests=0, window_throughput_per_s=(), latency=replace(level.latency, quantiles_us=()))
        for level in test_result.levels
    ]
    page = html_from_test(replace(test_result, levels=tuple(bare)), TEXTS, MACHINE)
    assert page.count("<svg") == 3


def test_noise_is_said(test_result):
    level = test_result.levels[0]
    noisy = replace(level, window_throughput_per_s=(100.0, 200.0, 150.0))
    assert spread(noisy) == pytest.approx(100 / 150)
    assert "take those figures with care" in html_from_test(replace(test_result, levels=(noisy,)), TEXTS, MACHINE)
    calm = replace(level, window_throughput_per_s=(100.0, 101.0, 100.0))
    assert "take those figures with care" not in html_from_test(replace(test_result, levels=(calm,)), TEXTS, MACHINE)


def rates(test_result):
    level = test_result.levels[0]
    slices = tuple(replace(part, failed=2) for part in level.slices)
    levels = tuple(
        replace(
            level,
            concurrency=0,
            load=f"poisson:{rate:g}",
            offered_per_s=rate,
            failures=(Failure("UNAVAILABLE", 7, "queue <full>", 900.0, 1200.0),),
            slices=slices,
            client_cpu=0.95,
            memory=tuple((float(second), 200.0 + second) for second in range(20)),
        )
        for rate in (50.0, 200.0)
    )
    plan = replace(test_result.plan, loads=(Arrivals(50.0), Arrivals(200.0)))
    return replace(test_result, plan=plan, levels=levels, generator="tritonpack 0.1.0")


def plots_of(page):
    return [ET.fromstring(plot) for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314  our own output


def test_rates_are_drawn_over_a_linear_axis_with_their_failures(test_result):
    page = html_from_test(rates(test_result), TEXTS, MACHINE)
    assert len(plots_of(page)) == 4
    assert "Below the grey line the server doesn&#39;t keep up" in page
    assert "queue &lt;full&gt;" in page
    assert "The load generator itself was busy at 50 requests/s, 200 requests/s" in page
    assert "tritonpack bench minilm --traffic poisson:50,200 --generator python --duration 0.6" in page


def test_one_level_is_drawn_over_its_time(test_result):
    test = rates(test_result)
    one = replace(test, levels=test.levels[:1], plan=replace(test.plan, loads=test.plan.loads[:1]))
    page = html_from_test(one, TEXTS, MACHINE)
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[:3] == ["Throughput over time", "Latency over time", "Memory over time"]
    assert len(plots_of(page)) == 5


def test_a_search_is_drawn_and_written(test_result, tmp_path):
    slo = Slo("p99", 25_000.0)
    steps = (Step(100.0, 12_000.0, met=True), Step(200.0, math.inf, met=False), Step(100.0, 11_000.0, met=True))
    test = replace(rates(test_result), search=Search(slo, 100.0, steps), plan=replace(test_result.plan, slo=slo))
    files = write_report(tmp_path, test, TEXTS, MACHINE)
    document = json.loads(files.json.read_bytes())
    assert document["search"]["rate_per_s"] == 100
    assert document["search"]["steps"][1] == {"rate_per_s": 200.0, "value_us": None, "met": False}
    page = files.html.read_text(encoding="utf-8")
    assert len(plots_of(page)[0].findall("circle")) == 3
    assert "--slo &#39;p99&lt;=25ms&#39;" in page
    empty = replace(test, search=Search(slo, 0.0, ()))
    assert "Highest rate inside p99&lt;=25ms</span><b>none" in html_from_test(empty, TEXTS, MACHINE)


def test_another_run_is_held_against_this_one(test_result, tmp_path):
    before = json.loads(write_report(tmp_path, test_result, TEXTS, MACHINE).json.read_bytes())
    files = write_report(tmp_path, test_result, TEXTS, replace(MACHINE, cores=4), before)
    page = files.html.read_text(encoding="utf-8")
    assert json.loads(files.json.read_bytes())["against"] == json.loads(json.dumps(files.document["against"]))
    assert "Against the run of 2026-11-22T04:00:00+00:00" in page
    assert "cores: 2 before, 4 now" in page
    assert page.count('class="noise"') == 6


def test_lists_of_numbers_stand_in_one_line(test_result, tmp_path):
    text = write_report(tmp_path, test_result, TEXTS, MACHINE).json.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400
    assert re.search(r'"window_throughput_per_s": \[[\d., ]+\]', text)


def test_the_command_says_what_was_sent(test_result):
    spikes = Arrivals(5.0, spikes=Spikes(50.0, 10.0, 1.0))
    test = replace(test_result, plan=replace(test_result.plan, loads=(spikes,)), generator="tritonpack 0.1.0")
    cut = replace(TEXTS, lengths="fixed:8")
    assert command_from_test(test, cut) == (
        "tritonpack bench minilm --traffic spikes:5,50,10s,1s --lengths fixed:8 --generator python "
        "--duration 0.6 --url 127.0.0.1:8001"
    )


def test_a_folder_that_cannot_be_written_is_one_error(test_result, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="can't be written"):
        write_report(tmp_path / "file", test_result, TEXTS, MACHINE)


def test_this_machine_is_described():
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_gb > 0
    assert machine.cpu


@given(st.floats(1e-6, 1e9))
def test_ticks_cover_the_values_in_few_round_steps(top):
    ticks = nice_ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-6)
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize("top", [0.0, -1.0, math.nan, math.inf])
def test_ticks_of_nothing(top):
    assert nice_ticks(top) == [0.0, 1.0]


def test_logarithmic_ticks():
    assert log_ticks(4, 220) == [5, 10, 20, 50, 100, 200]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (7.34, "7.34"),
        (48.36, "48.4"),
        (303.2, "303"),
        (1250, "1,250"),
        (100, "100"),
        (20.0, "20"),
    ],
)
def test_numbers_are_short(value, text):
    assert compact(value) == text


def test_changes_have_a_sign():
    assert [change(value) for value in (0.0, 12.34, -1250.0)] == ["+0", "+12.3", "-1,250"]


def test_long_runs_say_whether_they_drift(test_result):
    level = test_result.levels[0]
    part = level.slices[0]
    slices = tuple(replace(part, begin_s=6.0 * place, duration_s=6.0, answered=600 - 20 * place) for place in range(20))
    page = html_from_test(replace(test_result, levels=(replace(level, slices=slices),)), TEXTS, MACHINE)
    assert "<h2>Stability</h2>" in page
    assert page.count("falls") == 1
    assert page.count("steady") == 1


def test_names_are_escaped():
    assert "<b>" not in line_chart(["<b>"], [Series("<b>", [1.0])], "x", "<b>")


def test_a_distribution_of_one_value_is_drawn():
    ET.fromstring(distribution_chart([Series("one", [5.0] * 101)], "x", "y"))  # noqa: S314  our own output
