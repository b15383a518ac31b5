from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_pipelines import sentence, tiny_bert, wordpiece

from tritonpack.repository.python_models.classification import Stage

LABELS = ["calm", "angry", "glad", "sad", "\u4e2d"]


def stage(**parameters: object) -> Stage:
    return Stage(Path(), {"labels": json.dumps(LABELS)} | {name: str(value) for name, value in parameters.items()})


def answer(made: Stage, logits: np.ndarray) -> dict[str, np.ndarray]:
    (found,) = made.run([{"logits_output": logits}])
    assert not isinstance(found, str), found
    return found


def rows_of(found: dict[str, np.ndarray]) -> list[list[dict[str, object]]]:
    return [
        [{"label": label.decode(), "score": float(score)} for label, score in zip(labels, scores, strict=True)]
        for labels, scores in zip(found["labels"], found["scores"], strict=True)
    ]


@pytest.fixture(scope="module")
def classifier():
    from transformers import pipeline

    tokenizer = wordpiece()
    model = tiny_bert("AutoModelForSequenceClassification", tokenizer, num_labels=len(LABELS))
    model.config.id2label = dict(enumerate(LABELS))
    return pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")


def test_answers_what_the_pipeline_answers(classifier):
    import torch

    rng = np.random.default_rng(0)
    texts = [sentence(rng) for _ in range(8)]
    with torch.no_grad():
        encoded = [classifier.tokenizer(text, return_tensors="pt") for text in texts]
        rows = [classifier.model(**inputs).logits.numpy() for inputs in encoded]
    assert rows_of(answer(stage(), np.concatenate(rows))) == classifier(texts, top_k=None)


def test_answers_pairs_as_the_pipeline(classifier):
    import torch

    pair = {"text": "the cat sat.", "text_pair": "\u4e2d\u6587 deployment"}
    with torch.no_grad():
        logits = classifier.model(**classifier.tokenizer(**pair, return_tensors="pt")).logits.numpy()
    assert rows_of(answer(stage(top_k=2), logits))[0] == classifier(pair, top_k=2)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("top_k", [1, 3, 5, 9])
def test_random_logits_and_ties(classifier, activation, top_k):
    import torch
    from transformers.pipelines.text_classification import ClassificationFunction

    rng = np.random.default_rng(top_k)
    logits = rng.normal(scale=4, size=(60, len(LABELS))).astype(np.float32)
    logits[::2] = np.round(logits[::2])
    logits[:3] = [[0] * 5, [80, 80, -90, 0, 0], [-90, -89, -89, -100, -3e38]]
    found = rows_of(answer(stage(activation=activation, top_k=top_k), logits))
    function = ClassificationFunction[activation.upper()]
    with np.errstate(over="ignore"):
        for row, got in zip(logits, found, strict=True):
            outputs = {"logits": torch.from_numpy(row[None])}
            assert got == classifier.postprocess(outputs, function_to_apply=function, top_k=top_k, _legacy=False)


def test_dtypes_and_shapes():
    found = answer(stage(top_k=2), np.zeros((3, 5), np.float32))
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        "labels": (np.dtype(object), (3, 2)),
        "scores": (np.dtype(np.float32), (3, 2)),
    }
    assert found["labels"].tolist() == [[b"calm", b"angry"]] * 3


def test_requests_joined_are_answered_as_alone():
    rng = np.random.default_rng(3)
    requests = [rng.normal(size=(rows, 5)).astype(np.float32) for rows in (1, 4, 2)]
    made = stage()
    together = made.run([{"logits_output": logits} for logits in requests])
    assert [rows_of(found) for found in together] == [rows_of(answer(made, logits)) for logits in requests]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_what_isnt_a_number_fails_its_own_request_in_words(bad, activation):
    good, broken = np.ones((1, 5), np.float32), np.ones((3, 5), np.float32)
    broken[2, 1] = bad
    made = stage(activation=activation)
    first, second, third = made.run([{"logits_output": logits} for logits in (good, broken, good)])
    assert second == "the model's logits of row 2 aren't finite numbers"
    assert rows_of(first) == rows_of(third) == rows_of(answer(made, good))


def test_labels_that_dont_fit_the_model():
    wide = {"logits_output": np.zeros((1, 6), np.float32)}
    assert stage().run([wide, wide]) == ["the model gives 6 logits for 5 labels; build it again"] * 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"labels": "[]"}, "labels"),
        ({"labels": '"calm"'}, "labels"),
        ({"labels": "[1, 2]"}, "labels"),
        ({"activation": "relu"}, "softmax, sigmoid, none are known, not 'relu'"),
        ({"top_k": 0}, "top_k"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        stage(**parameters)


def test_no_labels():
    with pytest.raises(ValueError, match="labels: a JSON list"):
        Stage(Path(), {})
