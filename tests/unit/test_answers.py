"""The served ensemble in process: rows are spread over batches and come back to their requests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tritonpack.core.errors import SourceError, VerificationError
from tritonpack.core.model import ModelTraits
from tritonpack.inputs import INPUTS
from tritonpack.repository.ensemble import Steps
from tritonpack.stages.answers import answers_from_prepared, prepared_from_requests
from tritonpack.stages.assemble import steps_of
from tritonpack.tasks import TASKS

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import WORDS, vocabulary, write_tokenizer

LABELS = {"id2label": {0: "O", 1: "NAME", 2: "PLACE"}}
MODEL = ModelTraits({"vocab_size": len(vocabulary()), "pad_token_id": 0, **LABELS}, max_length=16)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def column(text):
    return np.array([[text.encode()]], dtype=object)


def words(count, first=0):
    return " ".join(WORDS[(first + 5 * number) % len(WORDS)] for number in range(count))


class Recipe:
    """A task, an input, and a stand-in for the graph: numbers that follow from each token alone."""

    def __init__(self, task, kind, tokenizer):
        self.task, self.input, self.tokenizer = TASKS.get(task), INPUTS.get(kind), tokenizer
        options, given = self.task.options(kind=task), self.input.options(kind=kind)
        outputs = tuple(self.task.outputs(options, MODEL))
        self.steps = steps_of(self.input, given, MODEL, {}, self.task.answer(options, MODEL), outputs)
        self.inputs = [spec.name for spec in self.input.graph_inputs(given, MODEL)]
        self.axes = self.input.axes(given, MODEL)
        self.outputs = [spec.name for spec in outputs]
        self.width = outputs[0].shape[-1]
        self.of_rows = task == "classification"
        self.spoil = None
        self.shapes = []

    def run(self, inputs):
        assert sorted(inputs) == sorted(self.inputs)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        self.shapes.append(ids.shape)
        found = {}
        for number, name in enumerate(self.outputs):
            tokens = np.sin(ids * (number + 3) + np.arange(ids.shape[1])).astype(np.float32)
            if isinstance(self.width, int):
                tokens = np.stack([np.sin(tokens * (place + 1)) for place in range(self.width)], axis=-1)
            kept = np.where(mask.reshape(mask.shape + (1,) * (tokens.ndim - 2)), tokens, np.float32(7))
            found[name] = kept[:, 0] if self.of_rows else kept
        if self.spoil is not None:
            found[self.outputs[0]][ids[:, 1] == self.spoil] = np.nan
        return found

    def answers(self, requests, **how):
        prepared = prepared_from_requests(requests, self.steps, self.tokenizer, self.inputs)
        return answers_from_prepared(prepared, self, self.axes, **{"ragged": False, **how})

    def alone(self, requests):
        """As if each request were the only one."""
        return [answer for request in requests for answer in self.answers([request])]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
            assert np.array_equal(one[name], other[name])


@pytest.mark.parametrize("batch", [1, 3, 32])
@pytest.mark.parametrize("task", ["classification", "token_classification"])
def test_each_request_gets_its_own_answer_whatever_batch_it_was_in(tokenizer, task, batch):
    recipe = Recipe(task, "text", tokenizer)
    requests = [{"text": column(words(1 + number * 5 % 13, number))} for number in range(9)]
    found = recipe.answers(requests, batch=batch)
    batches = list(recipe.shapes)
    same(found, recipe.alone(requests))
    assert sum(rows for rows, _ in batches) == 9
    assert [width for _, width in batches] == sorted(width for _, width in batches)


@pytest.mark.parametrize("batch", [1, 2, 5, 32])
def test_windows_of_one_document_meet_again(tokenizer, batch):
    recipe = Recipe("question_answering", "question_context", tokenizer)
    requests = [
        {"question": column(words(1 + number, number)), "context": column(words(length, number))}
        for number, length in enumerate((40, 2, 25, 7))
    ]
    prepared = prepared_from_requests(requests, recipe.steps, tokenizer, recipe.inputs)
    assert [len(rows) for rows in prepared.rows()] == [5, 1, 4, 1]
    assert prepared.lengths(recipe.axes)[0] > prepared.lengths(recipe.axes)[2] > prepared.lengths(recipe.axes)[3]
    same(recipe.answers(requests, batch=batch), recipe.alone(requests))


def test_without_a_last_step_the_graphs_outputs_get_their_public_names(tokenizer):
    recipe = Recipe("classification", "text", tokenizer)
    steps = Steps(recipe.steps.before, None, {"embedding": "logits_output"}, 1)
    prepared = prepared_from_requests([{"text": column("the cat")}], steps, tokenizer, recipe.inputs)
    (answer,) = answers_from_prepared(prepared, recipe, recipe.axes, ragged=False)
    assert {name: array.shape for name, array in answer.items()} == {"embedding": (1, 3)}


def test_a_ragged_graph_gets_flat_rows(tokenizer):
    recipe, seen = Recipe("classification", "text", tokenizer), []

    class Ragged:
        def run(self, inputs):
            seen.append(inputs)
            return {"logits_output": np.eye(3, dtype=np.float32)[:2]}

    prepared = prepared_from_requests(
        [{"text": column("the cat sat")}, {"text": column("dog")}], recipe.steps, tokenizer, recipe.inputs
    )
    answers = answers_from_prepared(prepared, Ragged(), recipe.axes, ragged=True)
    assert seen[0]["sequence_length"].tolist() == [[3], [5]]
    assert seen[0]["input_ids"].shape == (8,)
    # The shorter text ran first; the answers are in the requests' order all the same.
    assert [answer["labels"][0, 0] for answer in answers] == [b"NAME", b"O"]


def test_a_request_that_the_first_step_refuses_is_named(tokenizer):
    recipe = Recipe("classification", "text", tokenizer)
    with pytest.raises(SourceError, match=r"^request 300: text in row 0 isn't valid UTF-8"):
        recipe.answers([{"text": column("cat")}] * 300 + [{"text": np.array([[b"\xff"]], dtype=object)}])


def test_numbers_that_are_none_name_their_request(tokenizer):
    recipe = Recipe("classification", "text", tokenizer)
    recipe.spoil = vocabulary().index("dog")
    with pytest.raises(VerificationError, match=r"^request 1 has no answer: the model's logits of row 0 aren't finite"):
        recipe.answers([{"text": column("the cat sat")}, {"text": column("dog")}])


def test_no_request_no_answer(tokenizer):
    assert Recipe("classification", "text", tokenizer).answers([]) == []
