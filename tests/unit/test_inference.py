"""Texts dealt out to a model's inputs, and its answers as records."""

import numpy as np
import pytest

from tritonpack.core.errors import ConfigurationError
from tritonpack.inference import answers_from_rows, entries_of, rows_from_texts, text_inputs
from tritonpack_client import ModelLimits, TensorSpec

TEXT, PAIR = TensorSpec("text", "BYTES", (1,)), TensorSpec("text_pair", "BYTES", (1,))


def limits(*inputs):
    return ModelLimits("m", 2, inputs, ())


def test_every_input_of_texts_counts():
    assert text_inputs(limits(TEXT)) == ("text",)
    assert text_inputs(limits(TEXT, PAIR)) == ("text", "text_pair")


@pytest.mark.parametrize("inputs", [(), (TensorSpec("ids", "INT64", (-1,)),), (TEXT, TensorSpec("a", "BYTES", (2, 2)))])
def test_models_that_take_something_else_are_refused(inputs):
    with pytest.raises(ConfigurationError, match="the model 'm' doesn't take texts: it takes"):
        text_inputs(limits(*inputs))


def test_texts_are_dealt_out_in_order():
    rows = rows_from_texts(["a", "b", "c", "d"], ("question", "context"), "m")
    assert rows == [{"question": "a", "context": "b"}, {"question": "c", "context": "d"}]


def test_texts_that_do_not_come_out_even_are_refused():
    with pytest.raises(ConfigurationError, match=r"2 texts a row \(text, text_pair\), and 3 were given"):
        rows_from_texts(["a", "b", "c"], ("text", "text_pair"), "m")


def test_entries_are_records():
    outputs = {
        "labels": np.array([[b"yes", b"no"], [b"no", b"yes"]], object),
        "scores": np.array([[0.75, 0.25], [0.5, 0.5]], np.float32),
    }
    assert entries_of(outputs, 0) == [{"labels": "yes", "scores": 0.75}, {"labels": "no", "scores": 0.25}]


def test_what_fills_a_row_up_is_no_entry():
    outputs = {
        "entities": np.array([[b"Ada", b"Bob"], [b"Eve", b""]], object),
        "starts": np.array([[0, 8], [3, -1]], np.int32),
        "counts": np.array([[2], [1]], np.int32),
    }
    assert entries_of(outputs, 1) == [{"entities": "Eve", "starts": 3}]


def test_several_places_of_a_row_are_told_apart():
    outputs = {
        "tokens": np.array([[[b"a", b"b"], [b"c", b"d"]]], object),
        "counts": np.array([[2]], np.int32),
    }
    assert [(entry["place"], entry["tokens"]) for entry in entries_of(outputs, 0)] == [
        (0, "a"), (0, "b"), (1, "c"), (1, "d"),
    ]  # fmt: skip


class Echo:
    """Answers with its own input, and keeps the size of each request."""

    def __init__(self):
        self.sizes = []

    def infer(self, model, arrays):
        assert model == "m"
        self.sizes.append(len(arrays["text"]))
        return {"answers": np.array([[text[0].encode()] for text in arrays["text"]], object)}


def test_rows_beyond_the_maximum_batch_are_sent_in_parts_and_answered_in_order():
    client = Echo()
    answers = answers_from_rows(client, limits(TEXT), [{"text": str(n)} for n in range(5)])
    assert client.sizes == [2, 2, 1]
    assert answers == [[{"answers": str(n)}] for n in range(5)]
