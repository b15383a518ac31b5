"""What perf_analyzer is asked for."""

import statistics
from pathlib import Path

import pytest

from tritonpack.core.errors import ConfigurationError, SourceError
from tritonpack.loadtest.driver import LoadPlan, check_plan
from tritonpack.loadtest.perf_analyzer import check_loads, perf_analyzer_arguments, suits
from tritonpack.loadtest.slo import parse_slo
from tritonpack.loadtest.texts import DEFAULT_TEXTS, input_data, rows_of_texts, summary_from_texts, texts_from_file
from tritonpack.loadtest.traffic import Arrivals, Closed, Spikes


def options_of(load):
    arguments = perf_analyzer_arguments(
        "minilm", "127.0.0.1:9001", load, 9.0, Path("/d/texts.json"), Path("/d/4/t.csv"), Path("/d/4/p.json")
    )
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def test_arguments_name_everything_that_is_measured():
    options = options_of(Closed(4))
    assert options["-m"] == "minilm"
    assert options["-u"] == "127.0.0.1:9001"
    assert options["-i"] == "grpc"
    assert options["--concurrency-range"] == "4:4:1"
    assert options["--measurement-interval"] == "3000"
    assert options["--input-data"] == "/d/texts.json"
    assert options["-f"] == "t.csv"


def test_rates_are_asked_for_by_their_distribution():
    options = options_of(Arrivals(12.5))
    assert options["--request-rate-range"] == "12.5:12.5:1"
    assert options["--request-distribution"] == "poisson"
    assert options_of(Arrivals(3.0, poisson=False))["--request-distribution"] == "constant"


def test_what_perf_analyzer_cannot_measure_is_refused():
    check_loads((Closed(1), Arrivals(5.0)), None)
    with pytest.raises(ConfigurationError, match="can't send spikes:5,50,10s,1s"):
        check_loads((Arrivals(5.0, spikes=Spikes(50.0, 10.0, 1.0)),), None)
    with pytest.raises(ConfigurationError, match="can't search p99<=25ms"):
        check_loads((Closed(1),), parse_slo("p99<=25ms"))
    assert suits((Closed(1), Closed(2)), None)
    assert not suits((Arrivals(5.0),), None)


@pytest.mark.parametrize("levels", [(), (0,), (1, -4), (1, 1)])
def test_concurrencies_that_make_no_sense(levels):
    with pytest.raises(ConfigurationError, match="different whole numbers"):
        check_plan(LoadPlan("minilm", levels))


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan")])
def test_durations_that_make_no_sense(duration_s):
    with pytest.raises(ConfigurationError, match="duration"):
        check_plan(LoadPlan("minilm", (1,), duration_s))


def test_loads_that_make_no_sense():
    with pytest.raises(ConfigurationError, match="poisson:5 stands twice"):
        check_plan(LoadPlan("minilm", loads=(Arrivals(5.0), Arrivals(5.0))))
    with pytest.raises(ConfigurationError, match="no spike comes within 5 s") as raised:
        check_plan(LoadPlan("minilm", duration_s=5.0, loads=(Arrivals(5.0, spikes=Spikes(50.0, 10.0, 1.0)),)))
    assert "--duration 30" in raised.value.hint


def test_loads_take_the_place_of_concurrencies():
    assert LoadPlan("minilm", (2, 3)).measured == (Closed(2), Closed(3))
    assert LoadPlan("minilm", (2, 3), loads=(Arrivals(5.0),)).measured == (Arrivals(5.0),)


def test_the_default_texts_have_many_lengths():
    texts = texts_from_file(DEFAULT_TEXTS)
    words = [len(text.split()) for text in texts]
    assert len(texts) == len(set(texts)) == 200
    assert statistics.mean(words) > 1.2 * statistics.median(words)
    assert min(words) == 1
    assert 60 <= max(words) <= 120


def test_texts_from_a_file_leave_out_empty_lines(tmp_path):
    (tmp_path / "t.txt").write_text("one\n\n  two words \n", encoding="utf-8")
    texts = texts_from_file(tmp_path / "t.txt")
    assert texts == ["one", "two words"]
    summary = summary_from_texts(texts, "t.txt")
    assert (summary.count, summary.words_mean, summary.words_max) == (2, 1.5, 2)


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"\n \n", "no text"), (b"\xff", "UTF-8")])
def test_files_without_texts_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(SourceError, match=words):
        texts_from_file(tmp_path / "t.txt")


def test_input_data_holds_every_row_once_in_a_fixed_order():
    rows = [{"text": str(index)} for index in range(50)]
    data = input_data(rows)["data"]
    sent = [row["text"]["content"][0] for row in data]
    assert sorted(sent) == sorted(row["text"] for row in rows)
    assert sent != [row["text"] for row in rows]
    assert input_data(rows)["data"] == data
    assert data[0]["text"]["shape"] == [1]


def test_a_pair_stands_in_one_line_with_a_tabulator():
    assert rows_of_texts(["a\tb", "c\td"], ("text", "text_pair")) == [
        {"text": "a", "text_pair": "b"},
        {"text": "c", "text_pair": "d"},
    ]


def test_texts_without_tabulators_are_paired_with_the_next():
    assert rows_of_texts(["a", "b\tc", "d"], ("question", "context")) == [
        {"question": "a", "context": "b\tc"},
        {"question": "b\tc", "context": "d"},
        {"question": "d", "context": "a"},
    ]


def test_a_model_of_one_text_gets_one_a_request():
    assert rows_of_texts(["a", "b\tc"], ("text",)) == [{"text": "a"}, {"text": "b\tc"}]
