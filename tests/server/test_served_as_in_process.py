"""What `evaluate` measures in process is what the server answers: the same texts, the same numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_bert import WORDS, recipe_document, write_bert, write_recipe, write_texts

import tritonpack
from tritonpack import assess
from tritonpack.actions import Workplace, Workshop
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.engines import ENGINES
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack.stages.answers import answers_from_prepared
from tritonpack.stages.predict import predictions_from_client, read_predictions
from tritonpack_client import Client

pytestmark = [
    pytest.mark.server,
    # torch's exporter uses a tree API that its own next release renames.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

ROWS = 40
NAMES = ("O", "NAME", "PLACE")
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}


def text(number, most=30):
    return " ".join(WORDS[(number * 7 + place * 5) % len(WORDS)] for place in range(1 + number * 11 % most))


def of_text(**answer):
    return [{"text": text(number), **{name: made(number) for name, made in answer.items()}} for number in range(ROWS)]


# By recipe: the model's class and head, the task, the input, and labelled rows.
CASES = {
    "vectors": ("AutoModel", {}, {"kind": "embedding"}, {"kind": "text"}, of_text()),
    "classes": (
        "AutoModelForSequenceClassification",
        LABELS,
        {"kind": "classification"},
        {"kind": "text"},
        of_text(label=lambda number: NAMES[number % 3]),
    ),
    "entities": (
        "AutoModelForTokenClassification",
        LABELS,
        {"kind": "token_classification"},
        {"kind": "text"},
        of_text(label=lambda number: [[0, len(text(number).split()[0]), NAMES[1 + number % 2]]]),
    ),
    "answers": (
        "AutoModelForQuestionAnswering",
        {},
        {"kind": "question_answering", "top_k": 2},
        {"kind": "question_context", "stride": 4, "max_windows": 8},
        [
            {"question": text(number, 4), "context": text(number + 3, 70), "label": text(number + 3, 70)[:9]}
            for number in range(ROWS)
        ],
    ),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Every case, built in FP32, served by one server; recipes by name, the client, and the store."""
    folder = tmp_path_factory.mktemp("in-process")
    texts, recipes = write_texts(folder), {}
    for name, (auto_class, changes, task, given, rows) in CASES.items():
        data = folder / f"{name}.jsonl"
        data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        dataset = {"kind": "labelled", "file": str(data), "label": "label" if "label" in rows[0] else None}
        document = recipe_document(
            write_bert(folder / name, auto_class, **changes),
            texts,
            name=name,
            task=task,
            input=given,
            export={"max_length": 24},
            targets={"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
            calibration=None,
            serving={"max_batch": 16, "threads": 1},
            # The compiled graph rounds otherwise than the exported one.
            gates={"min_speedup": None, "accuracy": {"dataset": dataset, "max_drop": 1e-4}},
        )
        recipes[name] = tritonpack.load_recipe(write_recipe(folder / f"{name}.yaml", document))
        tritonpack.build(recipes[name], repository=folder / "models", store=folder / "store")
    with start(ServerOptions(folder / "models", *free_ports())) as server, Client(server.grpc_url) as client:
        yield recipes, client, folder / "store"


def in_process(recipe, store):
    """The engine's answers, and the requests."""
    workshop = Workshop(recipe, Workplace(store, None))
    action = workshop.assessment.predictions(workshop.candidate("cpu", "fp32"))
    runner = Runner(Store(store))
    runner.run([action])
    return read_predictions(runner.artifact(action)), workshop.model.rows.example_requests()


@pytest.mark.parametrize("name", CASES)
def test_answers_are_the_servers(served, name):
    recipes, client, store = served
    expected, requests = in_process(recipes[name], store)
    found = predictions_from_client(client, name, requests)
    assert len(found) == len(expected) == ROWS
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for output, array in other.items():
            assert (one[output].shape, one[output].dtype) == (array.shape, array.dtype)
            if array.dtype.kind == "f":
                # A row's last bits depend on the rows that it is batched with.
                np.testing.assert_allclose(one[output], array, atol=2e-6)
            else:
                assert one[output].tolist() == array.tolist()


@pytest.mark.parametrize("name", CASES)
def test_one_request_alone_is_the_servers_to_the_last_bit(served, name):
    """The same batch in both: one request."""
    recipes, client, store = served
    workshop = Workshop(recipes[name], Workplace(store, None))
    candidate = workshop.candidate("cpu", "fp32")
    _, requests = in_process(recipes[name], store)
    runner = Runner(Store(store))
    runner.run([candidate.compiled, *workshop.model.preprocessing.values()])
    paths = {key: runner.artifact(action) for key, action in workshop.model.preprocessing.items()}
    session = ENGINES.get("onnxruntime").open(runner.artifact(candidate.compiled))
    for request in requests[:8]:
        prepared = workshop.model.prepared([request], paths)
        (expected,) = answers_from_prepared(prepared, session, workshop.model.axes, ragged=True)
        (found,) = predictions_from_client(client, name, [request])
        for output, array in expected.items():
            assert found[output].tolist() == array.tolist()


@pytest.mark.parametrize("name", CASES)
def test_the_reports_are_the_same(served, name):
    recipes, client, store = served
    fp32, served_score = assess.evaluate_served(recipes[name], client, client.url, store=store).targets
    assert served_score.score["same_answers"] == ROWS
    assert fp32.score["against"] == served_score.score["against"]
    assert fp32.score["against"] == ("agreement with FP32" if name == "vectors" else "labels")
    for metric, figure in fp32.score["metrics"].items():
        other = served_score.score["metrics"][metric]
        for part in ("value", "low", "high"):
            assert other[part] == pytest.approx(figure[part], abs=1e-6)
        assert other["difference"]["value"] == pytest.approx(0, abs=1e-6)
