"""Where a recipe's rows come from: files, data sets, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tritonpack.actions.data import Rows
from tritonpack.core.errors import RecipeError, SourceError
from tritonpack.recipe import load_recipe
from tritonpack.stages.calibrate import Part

TEXTS = [f"text {number}" for number in range(20)]


@pytest.fixture
def rows(tmp_path):
    """The rows of a recipe in ``tmp_path`` with other fields."""

    def make(**changes):
        document = {
            "name": "tiny",
            "source": {"kind": "huggingface", "model": "./model"},
            "task": {"kind": "embedding"},
            "targets": {"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
            **changes,
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(json.dumps(document), encoding="utf-8")
        return Rows(load_recipe(path))

    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return make


def jsonl(path, records):
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path.name


def labelled(tmp_path, texts, name="rows.jsonl", column="text"):
    file = jsonl(tmp_path / name, [{column: text} for text in texts])
    return {"kind": "labelled", "file": file, "label": None}


def texts_of(requests, name="text"):
    return [request[name][0, 0].decode() for request in requests]


FILE = {"file": "texts.txt", "samples": 9}


@pytest.mark.parametrize(
    ("field", "parts"), [("calibration", (Part.CALIBRATION, Part.PROBE)), ("training", (Part.TRAINING,))]
)
def test_a_file_has_a_row_a_line(rows, field, parts):
    found = rows(**{field: FILE})
    for part in parts:
        digest, samples, requests = found.of(part)
        assert len(digest) == 64
        assert samples == 9
        assert texts_of(requests()) == TEXTS
        assert requests()[0]["text"].shape == (1, 1)


@pytest.mark.parametrize("field", ["calibration", "training"])
def test_a_data_set_gives_its_inputs_alone(rows, tmp_path, field):
    data = jsonl(tmp_path / "rows.jsonl", [{"text": text, "label": "x", "n": 1} for text in TEXTS])
    found = rows(**{field: {"dataset": {"kind": "labelled", "file": data}}})
    digest, samples, requests = found.of(Part.TRAINING if field == "training" else Part.CALIBRATION)
    assert (len(digest), samples) == (64, 256)
    assert texts_of(requests()) == TEXTS
    assert list(requests()[0]) == ["text"]


def test_the_digest_is_of_what_lies_in_the_file(rows, tmp_path):
    found = rows(calibration=FILE)
    before = found.of(Part.CALIBRATION)[0]
    assert rows(calibration={**FILE, "samples": 99}).of(Part.CALIBRATION)[0] == before
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[1:]), encoding="utf-8")
    assert found.of(Part.CALIBRATION)[0] != before


def test_texts_of_a_pair_are_separated_by_a_tabulator(rows, tmp_path):
    (tmp_path / "pairs.txt").write_text("one\tother\n\ntwo\tmore\n", encoding="utf-8")
    found = rows(task={"kind": "classification"}, input={"kind": "text_pair"}, calibration={"file": "pairs.txt"}).of(
        Part.CALIBRATION
    )[2]()
    assert [texts_of(found, name) for name in ("text", "text_pair")] == [["one", "two"], ["other", "more"]]


def test_nothing_is_read_before_it_is_asked_for(rows, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff\xff")
    _, _, requests = rows(calibration={"file": "bad.txt"}).of(Part.CALIBRATION)
    with pytest.raises(SourceError, match=r"bad\.txt isn't UTF-8"):
        requests()


def test_a_file_of_json_lines_has_the_inputs_by_their_names(rows, tmp_path):
    records = [{"text": f"{text}\nof two lines", "text_pair": "other", "label": 1} for text in TEXTS]
    file = jsonl(tmp_path / "rows.jsonl", records)
    found = rows(task={"kind": "classification"}, input={"kind": "text_pair"}, calibration={"file": file})
    requests = found.of(Part.CALIBRATION)[2]()
    assert texts_of(requests) == [record["text"] for record in records]
    assert texts_of(requests, "text_pair") == ["other"] * 20


def test_missing_training_rows_are_asked_for(rows):
    with pytest.raises(RecipeError, match="training: missing, but `compress` learns from unlabelled rows") as error:
        rows(calibration=FILE).of(Part.TRAINING)
    assert error.value.hint == "Add training: {file: FILE} or training: {dataset: ...} to the recipe."
    assert error.value.context["field"] == "training"


@pytest.mark.parametrize("field", ["calibration", "training"])
def test_a_file_that_isnt_there_is_named_with_its_field(rows, field):
    with pytest.raises(RecipeError, match=rf"{field} data .*absent\.txt isn't there") as error:
        rows(**{field: {"file": "absent.txt"}}).of(Part.TRAINING if field == "training" else Part.CALIBRATION)
    assert error.value.context["field"] == f"{field}.file"


def test_a_data_set_without_the_inputs_column_names_those_it_has(rows, tmp_path):
    data = labelled(tmp_path, TEXTS, column="texts")
    _, _, requests = rows(calibration={"dataset": data}).of(Part.CALIBRATION)
    with pytest.raises(SourceError, match=r"has no column 'text'; there are: texts$") as error:
        requests()
    assert "columns: {INPUT: COLUMN}" in error.value.hint


@pytest.mark.parametrize(
    ("task", "given", "value", "words"),
    [
        ("embedding", {"kind": "waveform", "sampling_rate": 8000}, "a text", "'waveform' holds texts, and input"),
        ("embedding", {"kind": "text"}, [1, 2, 3], "'text' holds numbers, and input text takes texts"),
    ],
)
def test_a_data_set_of_another_kind_of_input_is_refused(rows, tmp_path, task, given, value, words):
    data = labelled(tmp_path, [value] * 12, column=given["kind"])
    gates = {"accuracy": {"dataset": data, "max_drop": 0.1}}
    found = rows(task={"kind": task}, input=given, calibration={"dataset": data}, gates=gates)
    for read, field in ((found.of(Part.CALIBRATION)[2], "calibration"), (found.examples, "gates.accuracy")):
        with pytest.raises(RecipeError, match=words) as error:
            read()
        assert error.value.context["field"] == f"{field}.dataset"


def test_labelled_rows_are_the_accuracy_gates(rows, tmp_path):
    data = jsonl(tmp_path / "rows.jsonl", [{"text": text, "label": "no"} for text in TEXTS])
    accuracy = {"dataset": {"kind": "labelled", "file": data}, "max_drop": 0.1}
    found = rows(task={"kind": "classification"}, gates={"accuracy": accuracy})
    assert found.examples() is found.examples()
    assert texts_of(found.example_requests()) == TEXTS
    assert len(found.examples_digest()) == 64


def test_without_an_accuracy_gate_there_is_no_labelled_data(rows):
    assert rows().examples_digest() == ""
    with pytest.raises(RecipeError, match=r"gates\.accuracy: missing, so there is no labelled data") as error:
        rows().examples()
    assert error.value.context["field"] == "gates.accuracy"


def gated(rows, tmp_path, asked, **fields):
    accuracy = {"dataset": labelled(tmp_path, asked, "asked.jsonl"), "max_drop": 0.1}
    return rows(gates={"accuracy": accuracy}, **fields)


@pytest.mark.parametrize("field", ["calibration", "training"])
def test_what_a_build_is_fitted_to_isnt_what_it_is_judged_by(rows, tmp_path, field):
    found = gated(rows, tmp_path, TEXTS, **{field: FILE})
    assert list(found.seen) == [field]
    with pytest.raises(SourceError, match="the evaluation set itself: 20 of 20 evaluation rows"):
        found.check_leakage()


def test_leakage_is_found_in_a_data_set_too(rows, tmp_path):
    found = gated(rows, tmp_path, TEXTS[10:], calibration={"dataset": labelled(tmp_path, TEXTS)})
    with pytest.raises(SourceError, match="holds 100% of the evaluation set: 10 of 10"):
        found.check_leakage()


def test_other_texts_are_no_leakage(rows, tmp_path):
    others = [f"other {number}" for number in range(18)]
    gated(rows, tmp_path, [*others, *TEXTS[:2]], calibration=FILE, training=FILE).check_leakage()


def test_texts_are_sent_as_an_application_sends_them(rows):
    requests = rows().requests_from_texts(["one", "two\tor three"])
    assert texts_of(requests) == ["one", "two\tor three"]
    assert requests[0]["text"].dtype == np.dtype(object)


def test_texts_that_arent_what_the_input_takes_are_refused(rows):
    pairs = rows(task={"kind": "classification"}, input={"kind": "text_pair"})
    assert texts_of(pairs.requests_from_texts(["a\tb"]), "text_pair") == ["b"]
    with pytest.raises(RecipeError, match=r"input text_pair is 2 texts \(text, text_pair\), and 1 were given") as error:
        pairs.requests_from_texts(["a\tb", "alone"])
    assert "tabulator" in error.value.hint
    sounds = rows(input={"kind": "waveform", "sampling_rate": 8000})
    with pytest.raises(RecipeError, match="input waveform doesn't take texts"):
        sounds.requests_from_texts(["a"])
