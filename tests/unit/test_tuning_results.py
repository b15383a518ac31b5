"""What rounds in turns decide, and what a search leaves: overlay, document, page."""

from __future__ import annotations

import json
import re
import sys
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from tritonpack.core.errors import StoreError
from tritonpack.recipe import overlaid
from tritonpack.tuning.confirm import Verdict, confirmation_from_points, confirmed
from tritonpack.tuning.evidence import document_from_tuned, reason_of, write_overlay
from tritonpack.tuning.page import html_from_tuned, longest, pareto_front
from tritonpack.tuning.study import Outcome
from tritonpack.tuning.tune import best_trial

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_tuning import RECIPE, point, tuned


def rounds(own, found, own_ms=10.0, found_ms=10.0):
    return confirmation_from_points(
        [point(4, throughput, own_ms) for throughput in own], [point(8, throughput, found_ms) for throughput in found]
    )


FASTER = rounds([100, 104, 98, 101], [150, 158, 146, 152])


def best_of_others(trials):
    return best_trial(trials[1:])


def found(**changes):
    """A search that found something better than the recipe's own."""
    picked = {}

    def pick(trials):
        picked["trial"] = best_of_others(trials)
        return picked["trial"]

    result = tuned(pick, changes.pop("confirmation", FASTER))
    overlay = changes.pop("overlay", picked["trial"].settings.overlay(RECIPE))
    return tuned(pick, result.confirmation, overlay)


def test_both_are_measured_in_turns():
    order = []

    def measure(name, throughput):
        return lambda: order.append(name) or point(1, throughput)

    confirmation = confirmed(measure("own", 100), measure("found", 120), 3)
    assert order == ["own", "found", "found", "own", "own", "found"]
    assert confirmation.ratio == pytest.approx(1.2)
    assert confirmation.low == pytest.approx(1.2)


def test_the_interval_is_students_over_the_logarithms():
    confirmation = rounds([100, 100, 100], [110, 120, 130])
    # Logarithms 0.0953, 0.1823, 0.2624: mean 0.1800, deviation 0.0836, t(2) = 4.303.
    assert confirmation.ratio == pytest.approx(1.1972, abs=1e-4)
    assert (confirmation.low, confirmation.high) == pytest.approx((0.9728, 1.4735), abs=2e-3)


@pytest.mark.parametrize(
    ("confirmation", "verdict"),
    [
        (FASTER, Verdict.FASTER),
        (rounds([100, 104, 98, 101], [80, 85, 79, 81]), Verdict.SLOWER),
        (rounds([100, 130, 90, 101], [105, 101, 99, 128]), Verdict.NOISE),
        (rounds([100, 104, 98], [150, 158, 146], found_ms=26), Verdict.MISSES),
        (rounds([100, 104, 98], [50, 51, 49], own_ms=26), Verdict.HOLDS),
    ],
)
def test_the_rounds_decide(confirmation, verdict):
    assert confirmation.verdict is verdict


def test_the_result_says_why():
    assert reason_of(found()) == (
        "the settings found keep p99<=25ms with 1.50 times the throughput of the recipe's own (95%: 1.48 to 1.52)"
    )
    noise = found(confirmation=rounds([100, 130, 90, 101], [105, 101, 99, 128]), overlay=None)
    assert reason_of(noise).endswith("that is within the noise")
    assert reason_of(tuned()) == "no other settings were found that keep p99<=25ms"
    assert (found().result, noise.result, tuned().result) == ("tuned", "kept", "kept")


def test_the_overlay_is_laid_over_its_recipe_and_carries_its_evidence(tmp_path):
    result = found()
    file = tmp_path / "new" / "tiny.tuned.yaml"
    write_overlay(result, file)
    text = file.read_text()
    assert text.startswith("# Written by `tritonpack tune`")
    assert "--overlay tiny.tuned.yaml" in text
    overlay = yaml.safe_load(text)
    changed = overlaid(RECIPE, overlay)
    settings = result.found.settings
    assert (changed.serving.max_batch, changed.serving.threads) == (settings.max_batch, settings.threads)
    assert changed.targets["cpu"].precision == settings.precision
    evidence = overlay["evidence"]
    assert evidence["slo"] == "p99<=25ms"
    assert evidence["machine"]["cores"] == 2
    assert evidence["versions"]["load"] == "perf_analyzer 2.59"
    assert evidence["confirmed"]["throughput_ratio"] == {"value": 1.5035, "low": 1.4841, "high": 1.523}
    assert evidence["confirmed"]["found"]["p99_ms"] == 10.0
    assert sum(evidence["trials"][outcome] for outcome in Outcome) == len(result.trials)


def test_an_overlay_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="overlay can't be written") as error:
        write_overlay(found(), tmp_path / "file" / "o.yaml")
    assert "--output" in error.value.hint


def test_the_document_is_json_and_whole():
    result = found()
    document = json.loads(json.dumps(document_from_tuned(result)))
    assert document["result"] == "tuned"
    assert document["overlay"]["target"] == "cpu"
    assert len(document["trials"]) == len(result.trials)
    assert document["own"]["number"] == 0
    assert document["confirmation"]["verdict"] == "faster"
    assert document["left_out"] == {"gpu (fp16)": "engine tensorrt can't be served on this machine"}
    assert document_from_tuned(tuned())["confirmation"] is None


def test_the_front_is_what_no_other_beats():
    spots = [(100, 5), (200, 8), (150, 9), (300, 20), (290, 30), (300, 25), (50, 5)]
    assert pareto_front(spots) == [(100, 5), (200, 8), (300, 20)]
    assert pareto_front([]) == []


def test_of_each_load_the_longest_measurement_is_drawn():
    trial = tuned().own
    drawn = longest(trial)
    assert [one.concurrency for one in drawn] == sorted({one.concurrency for one in trial.points})
    assert all(
        one.duration_s == max(p.duration_s for p in trial.points if p.concurrency == one.concurrency) for one in drawn
    )


@pytest.mark.parametrize("make", [found, tuned])
def test_the_page_stands_alone_and_shows_every_trial(make):
    result = make()
    page = html_from_tuned(result)
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    words = " ".join(ET.fromstring(svg).itertext())  # noqa: S314  our own text
    for text in ("Requests per second", "Latency, p99, ms", "p99<=25ms", "the recipe's own settings"):
        assert text in words
    assert result.found is None or f"trial {result.found.number}" in words
    assert page.count("<tr class=") == len(result.trials)
    assert reason_of(result) in unescape(page)
    assert not re.search(r"(?:src|href)\s*=\s*\"?http|<script|<link", page)
