"""What arrives: what people may write, and when each request is due."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonpack.core.errors import ConfigurationError, SourceError
from tritonpack.loadtest.lengths import parse_lengths, texts_of_lengths
from tritonpack.loadtest.traffic import (
    EXAMPLES,
    Arrivals,
    Closed,
    Spikes,
    Traffic,
    arrival_times,
    duration_from_text,
    parse_traffic,
)


@pytest.mark.parametrize(
    ("text", "traffic"),
    [
        ("closed:1,4", Traffic((Closed(1), Closed(4)))),
        ("poisson:200", Traffic((Arrivals(200.0),))),
        ("constant:0.5/s", Traffic((Arrivals(0.5, poisson=False),))),
        ("steps:50, 100", Traffic((Arrivals(50.0), Arrivals(100.0)))),
        ("spikes:50,300", Traffic((Arrivals(50.0, spikes=Spikes(300.0, 10.0, 1.0)),))),
        ("spikes:50,300,5s,500ms", Traffic((Arrivals(50.0, spikes=Spikes(300.0, 5.0, 0.5)),))),
        ("soak:20m@100", Traffic((Arrivals(100.0),), 1200.0)),
    ],
)
def test_traffic_is_read(text, traffic):
    assert parse_traffic(text) == traffic


def test_every_example_and_every_label_is_understood():
    for example in EXAMPLES.values():
        for load in parse_traffic(example).loads:
            assert parse_traffic(load.label).loads == (load,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no kind of traffic; the kinds are closed, poisson"),
        ("poison:20", "'poison:20' is no kind"),
        ("poisson:", "'' is no rate above 0"),
        ("poisson:-3", "'-3' is no rate"),
        ("constant:nan", "'nan' is no rate"),
        ("steps:5,x", "'x' is no rate"),
        ("closed:0", "'0' is no whole number from 1"),
        ("closed:1.5", "'1.5' is no whole number"),
        ("spikes:5", "is two rates"),
        ("spikes:5,6,1s,1s", "isn't below 1 s"),
        ("spikes:5,6,ten,1s", "'ten' is no time"),
        ("soak:100", "'100' is no time|'' is no rate"),
        ("soak:20x@100", "'20x' is no time"),
    ],
)
def test_traffic_that_makes_no_sense_is_answered_with_what_would(text, words):
    with pytest.raises(ConfigurationError, match=words) as raised:
        parse_traffic(text)
    assert raised.value.hint.startswith("Example")
    assert raised.value.context["field"] == "traffic"


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("20m", 1200), ("1.5h", 5400), ("3", 3)])
def test_times_are_read(text, seconds):
    assert duration_from_text(text) == seconds


@settings(deadline=None)
@given(st.floats(1, 500), st.floats(0.5, 20), st.booleans(), st.integers(0, 5))
def test_arrivals_ascend_within_their_time_and_repeat(rate, duration_s, poisson, seed):
    load = Arrivals(rate, poisson=poisson)
    times = arrival_times(load, duration_s, seed=seed, before_s=1.0)
    assert np.all(np.diff(times) >= 0)
    assert np.all((times >= -1.0) & (times <= duration_s))
    assert np.array_equal(times, arrival_times(load, duration_s, seed=seed, before_s=1.0))
    expected = rate * (duration_s + 1.0)
    assert abs(len(times) - expected) <= (6 * np.sqrt(expected) + 1 if poisson else 1)


def test_poisson_arrivals_are_independent_of_one_another():
    gaps = np.diff(arrival_times(Arrivals(100.0), 200.0))
    assert np.mean(gaps) == pytest.approx(0.01, rel=0.05)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.05)
    even = np.diff(arrival_times(Arrivals(100.0, poisson=False), 2.0))
    assert np.allclose(even, 0.01)


def test_spikes_come_at_the_end_of_each_period():
    load = Arrivals(10.0, poisson=False, spikes=Spikes(200.0, 5.0, 1.0))
    times = arrival_times(load, 12.0)
    counts, _ = np.histogram(times, np.arange(13.0))
    assert [int(count) for count in counts] == pytest.approx([10, 10, 10, 10, 200] * 2 + [10, 10], abs=1)
    assert load.mean_rate_per_s == pytest.approx(48.0)


@pytest.mark.parametrize("text", ["lognormal:16,0.75", "uniform:4,64", "fixed:128"])
def test_texts_are_cut_to_lengths(text):
    lengths = parse_lengths(text)
    texts = texts_of_lengths(["one two three", "four\tfive"], lengths)
    assert [len(words.split()) for words in texts] == list(lengths.words)
    assert len(texts) == 512
    assert set(" ".join(texts).split()) == {"one", "two", "three", "four", "five"}


def test_lengths_are_distributed_as_they_are_named():
    words = np.array(parse_lengths("lognormal:16,0.75").words)
    assert np.median(words) == pytest.approx(16, rel=0.15)
    assert np.std(np.log(words)) == pytest.approx(0.75, rel=0.15)
    uniform = parse_lengths("uniform:4,6").words
    assert set(uniform) == {4, 5, 6}
    assert set(parse_lengths("fixed:7").words) == {7}


def test_lengths_are_read_from_a_file(tmp_path):
    (tmp_path / "l.txt").write_text("3\n1\n", encoding="utf-8")
    assert parse_lengths(f"file:{tmp_path}/l.txt").words == (3, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("normal:5", "is no distribution; there are lognormal"),
        ("fixed:", "'' is no number"),
        ("fixed:1,2", "'1,2' is no number"),
        ("lognormal:16", "'16' aren't two numbers"),
        ("uniform:9,2", "9 as the least, which is above 2"),
    ],
)
def test_lengths_that_make_no_sense_are_answered_with_what_would(text, words):
    with pytest.raises(ConfigurationError, match=words) as raised:
        parse_lengths(text)
    assert raised.value.hint.startswith("Example")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, SourceError, "No such file"),
        ("", SourceError, "holds no length"),
        ("4\n-1\n", ConfigurationError, "'-1' in .* is no number of words"),
        ("4\nfive\n", ConfigurationError, "'five'"),
    ],
)
def test_files_without_lengths_are_refused(tmp_path, content, error, words):
    if content is not None:
        (tmp_path / "l.txt").write_text(content, encoding="utf-8")
    with pytest.raises(error, match=words):
        parse_lengths(f"file:{tmp_path}/l.txt")
