"""What the page of growth says, from figures that are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from growing.curves import Curve, line_through
from growing.page import CHAPTERS, page
from growing.pictures import Panel, svg_from_curve
from growing.repositories import WIDTH, config_of, ensemble_of, write_copies, write_weights
from growth import WHOLE

from tritonpack.core.machine import this_machine
from tritonpack.reports.figures import COLORS


def curve_of(name, **figures):
    """A curve of one round; each keyword is a figure at 1, 2 and 4."""
    return Curve.of_rounds(name, "x", [{x: {k: v[i] for k, v in figures.items()} for i, x in enumerate((1, 2, 4))}])


def models_curve():
    return curve_of(
        "models",
        **{
            "start to ready, s": (3, 5, 9),
            "memory when ready, MB": (150, 250, 450),
            "memory after load, MB": (160, 270, 500),
            "one asked, texts/s": (100, 90, 80),
            "all asked in turn, texts/s": (100, 60, 50),
            "each of all, texts/s": (100, 30, 12.5),
        },
    )


def test_a_curve_holds_medians_and_what_lies_around_them():
    rounds = [{1: {"ms": 3.0}, 2: {"ms": 9.0}}, {2: {"ms": 5.0}, 1: {"ms": 1.0}}, {1: {"ms": 2.0}, 2: {"ms": 7.0}}]
    curve = Curve.of_rounds("length", "tokens", rounds)
    assert curve.xs == [1, 2]
    assert curve.values("ms") == [2.0, 7.0]
    assert curve.spread[2]["ms"] == (5.0, 9.0)
    assert json.loads(json.dumps(curve.to_json()))["median_lowest_highest"][1] == {"x": 2, "ms": [7.0, 5.0, 9.0]}


def test_a_line_is_found_and_says_how_well_it_fits():
    straight, bent = line_through([1, 2, 4], [3, 5, 9]), line_through([1, 2, 3], [0, 3, 0])
    assert (straight.at_zero, straight.slope, straight.explained) == pytest.approx((1, 2, 1))
    assert bent.explained == pytest.approx(0, abs=1e-9)
    assert line_through([1, 2], [4, 4]).explained == 1.0
    with pytest.raises(ValueError, match="two places, not 1"):
        line_through([3, 3], [1, 2])


def test_the_page_says_what_a_model_more_costs():
    said = CHAPTERS["models"].finding(models_curve())
    assert "A model more takes 2.00 s of the start and 100 MB of memory" in said
    assert "3 others are idle keeps 80%" in said
    assert "give together 50%" in said


def test_the_page_says_where_more_stops_to_pay():
    curve = curve_of("concurrency", **{"texts/s": (100, 290, 300), "p50, ms": (9, 7, 13), "p99, ms": (12, 14, 30)})
    said = CHAPTERS["concurrency"].finding(curve)
    assert "300 texts a second, 3.0 times" in said
    assert "2 in flight reach 95% of it, with a p99 of 14 ms; at 4 in flight the p99 is 30 ms" in said


def test_the_page_holds_each_curve_with_its_table_and_picture():
    text = page([models_curve()], this_machine(), {"onnxruntime": "1"}, "minilm", "growth")
    assert "growth/models.svg)" in text
    assert "| 4 | 9 | 450 | 500 | 80 | 50 | 12.5 |" in text
    assert "Versions: onnxruntime 1, Python" in text


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_points_and_rounds_that_ascend(name):
    assert list(WHOLE.points[name]) == sorted(set(WHOLE.points[name]))
    assert WHOLE.rounds[name] >= 2


def test_a_picture_holds_a_line_for_every_figure():
    curve = curve_of("models", one=(1, 2, 3), other=(3, 300, 3000))
    panels = [Panel("Both", ("one", "other"), ("first", "second"), is_log=True), Panel("A", ("one",))]
    svg = svg_from_curve(curve, panels)
    ET.fromstring(svg)  # noqa: S314  our own
    assert all(word in svg for word in ("Both", "first", "second", COLORS[0], COLORS[1]))
    assert svg == svg_from_curve(curve, panels)


def test_weights_make_a_model_of_about_that_size(tmp_path):
    write_weights(tmp_path, 13, threads=2)
    config = config_of(tmp_path / "weights")
    assert config.input[0].dims == (WIDTH,)
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert (tmp_path / "weights" / "1" / "model.onnx").stat().st_size == pytest.approx(13e6, rel=0.1)


def test_copies_of_an_ensemble_know_their_own_models(tmp_path):
    source = tmp_path / "source"
    for name in ("tiny", "tiny_encoder"):
        (source / name / "1").mkdir(parents=True)
    (source / "tiny_encoder" / "1" / "model.onnx").write_bytes(b"weights")
    (source / "tiny_encoder" / "config.pbtxt").write_text('name: "tiny_encoder" backend: "onnxruntime"')
    (source / "tiny" / "config.pbtxt").write_text(
        'name: "tiny" platform: "ensemble" input { name: "text" data_type: TYPE_STRING dims: [ 1 ] }'
        ' ensemble_scheduling { step { model_name: "tiny_encoder" model_version: -1'
        ' input_map { key: "a" value: "text" } output_map { key: "b" value: "c" } } }'
    )
    assert write_copies(source, "tiny", 2, tmp_path / "grown") == ["tiny_00", "tiny_01"]
    assert [step.model_name for step in ensemble_of(tmp_path / "grown", "tiny_01")] == ["tiny_encoder_01"]
    assert config_of(tmp_path / "grown" / "tiny_encoder_01").name == "tiny_encoder_01"
    assert (tmp_path / "grown" / "tiny_encoder_00" / "1" / "model.onnx").read_bytes() == b"weights"


def test_what_isnt_an_ensemble_of_texts_is_refused(tmp_path):
    write_weights(tmp_path, 4, threads=1)
    with pytest.raises(click.UsageError, match=r"no model 'minilm'.*tritonpack build"):
        ensemble_of(tmp_path, "minilm")
    with pytest.raises(click.UsageError, match="isn't an ensemble that takes `text`"):
        ensemble_of(tmp_path, "weights")
