"""Sound as it is served, and as a recipe and a calibration file give it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tritonpack.core.errors import RecipeError, SourceError
from tritonpack.core.model import ModelTraits
from tritonpack.inputs import INPUTS
from tritonpack.repository.python_models.waveform import Stage

INPUT = INPUTS.get("waveform")
ANY = {"outputs": "input_values,attention_mask", "max_length": "8", "least": "2"}
WINDOW = {"outputs": "input_values", "max_length": "512", "least": "1", "window": "4"}


def stage(parameters, **others):
    return Stage(Path(), {**parameters, **others})


def run(parameters, *waveforms, **others):
    return stage(parameters, **others).run([{"waveform": np.array(one, np.float32)} for one in waveforms])


def test_sound_of_any_length_is_given_as_it_is():
    (answer,) = run(ANY, [[1, 2, 3], [4, 5, 6]])
    assert answer["input_values"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert answer["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert (answer["input_values"].dtype, answer["attention_mask"].dtype) == (np.float32, np.int64)


def test_a_window_is_filled_with_silence_or_cut():
    short, long = run(WINDOW, [[1, 2]], [[1, 2, 3, 4, 5]])
    assert short.keys() == long.keys() == {"input_values"}
    assert short["input_values"].tolist() == [[1, 2, 0, 0]]
    assert long["input_values"].tolist() == [[1, 2, 3, 4]]


def test_sounds_that_are_cut_are_told():
    cutter = stage(ANY)
    cutter.run([{"waveform": np.ones((2, 9), np.float32)}, {"waveform": np.ones((1, 8), np.float32)}])
    assert cutter.notices == ["2 sounds cut to 8 samples (2 since start)"]
    cutter.notices.clear()
    cutter.run([{"waveform": np.ones((1, 8), np.float32)}])
    assert cutter.notices == []
    cutter.run([{"waveform": np.ones((1, 100), np.float32)}])
    assert cutter.notices == ["1 sounds cut to 8 samples (3 since start)"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_isnt_a_number_fails_its_request_alone(value):
    good, bad = run(ANY, [[1, 2]], [[1, 2], [3, value]])
    assert not isinstance(good, str)
    assert bad == "waveform in row 1 holds NaN or infinity"


def test_a_sound_that_is_too_short_fails_its_request_alone():
    good, bad, empty = run(ANY, [[1, 2]], [[1]], np.zeros((1, 0)))
    assert not isinstance(good, str)
    assert bad == "waveform has 1 samples a row; the model takes at least 2"
    assert empty == "waveform has 0 samples a row; the model takes at least 2"


def test_an_empty_sound_of_a_window_is_refused():
    (answer,) = run(WINDOW, np.zeros((1, 0)))
    assert answer == "waveform has 0 samples a row; the model takes at least 1"


def test_normalized_sound_has_mean_0_and_deviation_1_as_transformers_does_it():
    rng = np.random.default_rng(0)
    sound = (rng.normal(size=(3, 8)) * [[1], [100], [1e-3]] + [[5], [0], [1]]).astype(np.float32)
    (answer,) = run(ANY, sound, normalize="true")
    expected = [(row - row.mean()) / np.sqrt(row.var() + 1e-7) for row in sound]
    np.testing.assert_allclose(answer["input_values"], expected, rtol=1e-4, atol=1e-4)


def test_normalized_sound_is_that_of_the_feature_extractor():
    from transformers import Wav2Vec2FeatureExtractor

    sound = np.random.default_rng(1).normal(3, 20, 8).astype(np.float32)
    expected = Wav2Vec2FeatureExtractor(do_normalize=True)(sound, sampling_rate=16000, return_tensors="np")
    (answer,) = run(ANY, [sound], normalize="true")
    np.testing.assert_allclose(answer["input_values"], expected["input_values"], rtol=1e-5, atol=1e-5)


def test_silence_stays_silence():
    (answer,) = run(ANY, np.full((1, 5), 3.0), normalize="true")
    assert answer["input_values"].tolist() == [[0] * 5]


def test_normalizing_counts_only_what_was_heard():
    """Not the silence that fills the window, nor what is cut."""
    (answer,) = run(WINDOW, [[1, 3]], normalize="true")
    np.testing.assert_allclose(answer["input_values"], [[-1, 1, 0, 0]], atol=1e-6)
    (answer,) = run(WINDOW, [[1, 3, 1, 3, 1000]], normalize="true")
    np.testing.assert_allclose(answer["input_values"], [[-1, 1, -1, 1]], atol=1e-6)


def test_the_request_isnt_changed():
    sound = np.array([[1, 3]], np.float32)
    stage(WINDOW, normalize="true").run([{"waveform": sound}])
    assert sound.tolist() == [[1, 3]]


def options(**others):
    return INPUT.options(kind="waveform", sampling_rate=8000, **others)


def test_a_window_is_one_shape_and_any_length_has_a_mask():
    model = ModelTraits({}, 64)
    assert [spec.shape for spec in INPUT.graph_inputs(options(window=24), model)] == [("batch", 24)]
    assert INPUT.axes(options(window=24), model) == []
    assert [spec.name for spec in INPUT.graph_inputs(options(), model)] == ["input_values", "attention_mask"]
    (axis,) = INPUT.axes(options(least=10), model)
    assert (axis.name, axis.mask, axis.longest, axis.least) == ("samples", "attention_mask", 64, 10)


def test_a_least_above_the_longest_is_refused():
    with pytest.raises(RecipeError, match=r"input\.least is 65 samples, but export\.max_length is 64") as error:
        INPUT.axes(options(least=65), ModelTraits({}, 64))
    assert error.value.context["field"] == "input.least"


def test_calibration_sounds_are_the_rows_of_an_array(tmp_path):
    np.save(tmp_path / "sounds.npy", np.arange(6).reshape(2, 3))
    requests = INPUT.requests_from_file(tmp_path / "sounds.npy")
    assert [request["waveform"].tolist() for request in requests] == [[[0, 1, 2]], [[3, 4, 5]]]
    assert requests[0]["waveform"].dtype == np.float32


def test_a_calibration_file_that_isnt_such_an_array_is_refused(tmp_path):
    path = tmp_path / "sounds.npy"
    np.save(path, np.zeros(5))
    with pytest.raises(SourceError, match=r"holds an array of shape \(5,\); sounds are \(n, samples\)"):
        INPUT.requests_from_file(path)
    path.write_bytes(b"not numpy")
    with pytest.raises(SourceError, match="isn't a NumPy file"):
        INPUT.requests_from_file(path)
    np.save(path, np.array([[object()]]), allow_pickle=True)
    with pytest.raises(SourceError, match="isn't a NumPy file"):
        INPUT.requests_from_file(path)


@pytest.mark.parametrize(
    ("kind", "columns"), [("text", 1), ("text_pair", 2), ("two_texts", 2), ("question_context", 2)]
)
def test_calibration_texts_are_lines_and_their_columns(tmp_path, kind, columns):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join("\t".join(["a b", "c"][:columns]) for _ in range(3)) + "\n\n  \n", encoding="utf-8")
    requests = INPUTS.get(kind).requests_from_file(path)
    names = [spec.name for spec in INPUTS.get(kind).public]
    assert len(requests) == 3
    assert [requests[0][name].tolist() for name in names] == [[[b"a b"]], [[b"c"]]][:columns]


def test_a_line_of_another_number_of_columns_is_named(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("a\tb\nalone\n", encoding="utf-8")
    words = r"texts\.txt, line 2: 1 columns, but the input takes 2: text, text_pair"
    with pytest.raises(SourceError, match=words) as error:
        INPUTS.get("text_pair").requests_from_file(path)
    assert "tabulators" in error.value.hint
