"""Answers to a file and back, and answers of a served model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tritonpack.repository.ensemble import PythonStage, Steps
from tritonpack.stages.predict import (
    predictions_from_client,
    predictions_from_graph,
    read_predictions,
    write_predictions,
)


def texts(*rows):
    array = np.empty((1, len(rows)), object)
    array[0] = rows
    return array


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape)
            assert array.tolist() == other[name].tolist()


def entities(*names):
    return {
        "labels": texts(*names) if names else texts(b""),
        "scores": np.linspace(0, 1, max(1, len(names)), dtype=np.float32)[None],
        "counts": np.array([[len(names)]], np.int32),
    }


ANSWERS = [entities(b"PLACE", b""), entities(), entities("Zoë".encode(), b"nul\0", b"\0")]


def test_answers_of_any_width_survive_the_file(tmp_path):
    write_predictions(ANSWERS, tmp_path / "file")
    same(read_predictions(tmp_path / "file"), ANSWERS)


@given(
    st.lists(arrays.arrays(np.float32, st.tuples(st.just(1), st.integers(0, 4), st.integers(0, 3))), max_size=5),
    st.lists(st.binary(max_size=5), min_size=5, max_size=5),
)
def test_what_is_read_is_what_was_written(tmp_path_factory, numbers, names):
    answers = [{"x/y": array, "name": texts(name)} for array, name in zip(numbers, names, strict=False)]
    file = tmp_path_factory.mktemp("predictions") / "file"
    write_predictions(answers, file)
    for found, expected in zip(read_predictions(file), answers, strict=True):
        assert np.array_equal(found["x/y"], expected["x/y"], equal_nan=True)
        assert found["name"].tolist() == expected["name"].tolist()


def test_the_file_is_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        write_predictions(ANSWERS, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_graphs_answers_are_written(tmp_path):
    class Engine:
        def open(self, path):
            assert path.name == "graph"
            return self

        def run(self, inputs):
            return {"embedding_output": inputs["input_values"].sum(axis=1, keepdims=True)}

    before = PythonStage(
        "preprocessor", "waveform", (), (), {"outputs": "input_values", "window": "4"}, reads_tokenizer=False
    )
    requests = [{"waveform": np.full((1, length), length, np.float32)} for length in (3, 1, 9)]
    facts = predictions_from_graph(
        tmp_path / "graph",
        engine=Engine(),
        requests=requests,
        steps=Steps(before, None, {"embedding": "embedding_output"}, 1),
        tokenizer=None,
        inputs=["input_values"],
        axes=[],
        ragged=True,
        out=tmp_path / "out",
    )
    assert facts == {"requests": 3, "rows": 3}
    found = read_predictions(tmp_path / "out")
    assert [answer["embedding"].tolist() for answer in found] == [[[9.0]], [[1.0]], [[36.0]]]


class Client:
    """Answers with as many entries as the longest text of the request has words."""

    def __init__(self, most):
        self.most, self.sent = most, []

    def limits(self, model):
        assert model == "tagger"
        return SimpleNamespace(max_batch_size=self.most)

    def infer(self, model, inputs):
        assert model == "tagger"
        rows = [text.decode().split() for text in inputs["text"][:, 0]]
        self.sent.append([" ".join(row) for row in rows])
        width = max(1, *map(len, rows))
        labels = np.full((len(rows), width), b"", object)
        for place, row in enumerate(rows):
            labels[place, : len(row)] = [word.encode() for word in row]
        counts = np.array([[len(row)] for row in rows], np.int32)
        return {"labels": labels, "counts": counts}


@pytest.mark.parametrize("most", [0, 1, 2, 8])
def test_served_answers_come_in_order_and_as_if_asked_alone(most):
    client = Client(most)
    lines = ["one two three", "one", "four five", "", "six seven eight nine"]
    found = predictions_from_client(client, "tagger", [{"text": texts(line.encode())} for line in lines])
    assert [answer["labels"].shape for answer in found] == [(1, max(1, len(line.split()))) for line in lines]
    assert [b" ".join(answer["labels"][0]).decode() for answer in found] == lines
    sizes = [len(line) for batch in client.sent for line in batch]
    assert sizes == sorted(sizes)
    assert max(map(len, client.sent)) <= max(1, most)


def test_rows_of_another_shape_go_in_requests_of_their_own():
    class Sums:
        def limits(self, _model):
            return SimpleNamespace(max_batch_size=8)

        def infer(self, _model, inputs):
            return {"sum": inputs["waveform"].sum(axis=1, keepdims=True)}

    requests = [{"waveform": np.ones((1, length), np.float32)} for length in (3, 5, 3)]
    found = predictions_from_client(Sums(), "sounds", requests)
    assert [answer["sum"].tolist() for answer in found] == [[[3]], [[5]], [[3]]]
