"""Other tasks and inputs through the whole build: the repository's own code and engine answer as PyTorch does."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bert import tiny_model, vocabulary, write_bert, write_tokenizer

from tritonpack import actions
from tritonpack.core.errors import ExportError, RecipeError
from tritonpack.core.model import RaggedAxis
from tritonpack.engines import ENGINES
from tritonpack.families import Family
from tritonpack.repository.layout import damaged_files, read_manifest
from tritonpack.repository.pbtxt import parse
from tritonpack.stages.raggedize import ragged_inputs

CPU = {"cpu": {"engine": "onnxruntime", "precision": "fp32"}}
LABELS = ("O", "NAME", "PLACE")
NAMED = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
CLS, SEP, PAD = 2, 3, 0


def ids(*words):
    return [vocabulary().index(word) for word in words]


def column(*texts):
    return np.array([[text.encode()] for text in texts], dtype=object)


class Served:
    """The models of a repository, run in this process as Triton would."""

    def __init__(self, project):
        self.root = project.repository
        self.manifest = read_manifest(self.root)["recipes"]["tiny"]
        entry = self.manifest["targets"]["cpu"]
        self.axes = [RaggedAxis.from_json(axis) for axis in entry["axes"]]
        self.engine = ENGINES.get("onnxruntime").open(self.root / "tiny_encoder" / "1" / "cpu.onnx")
        self.graph_inputs = [spec["name"] for spec in entry["inputs"]]

    def config(self, model):
        return parse((self.root / model / "config.pbtxt").read_text())

    def stage(self, model, file):
        folder = self.root / model / "1"
        code = import_module(f"tritonpack.repository.python_models.{file}")
        assert (folder / "stage.py").read_bytes() == Path(code.__file__).read_bytes()
        return code.Stage(folder, {name: value.string_value for name, value in self.config(model).parameters.items()})

    def ask(self, file, **request):
        """Every tensor of the ensemble by name."""
        (tokens,) = self.stage("tiny_tokenizer", "text").run([request])
        assert not isinstance(tokens, str), tokens
        given = {name: tokens[name] for name in self.graph_inputs}
        lengths = {axis.name: tokens[axis.mask].sum(axis=1) for axis in self.axes}
        known = {**request, **tokens, **self.engine.run(ragged_inputs(given, self.axes, lengths))}
        after = self.config("tiny_postprocessor")
        (answer,) = self.stage("tiny_postprocessor", file).run([{part.name: known[part.name] for part in after.input}])
        assert not isinstance(answer, str), answer
        assert set(answer) == {part.name for part in after.output}
        return known, answer


def build(project, auto_class, task, **changes):
    write_bert(project.root / "model", auto_class, **changes.pop("model", {}))
    source = {"kind": "huggingface", "model": "model/"}
    result = project.build(
        "cpu", source=source, task={"kind": task}, targets=CPU, calibration=None, serving={"max_batch": 16}, **changes
    )
    assert [report["status"] for report in result.targets[0].verification] == ["verified"] * 4
    assert damaged_files(project.repository, "tiny") == {}
    return Served(project)


def logits_of(auto_class, rows, types=None, **config):
    """PyTorch's own, row by row."""
    model = tiny_model(auto_class, **config)
    found = []
    for row, kinds in zip(rows, types or [[0] * len(row) for row in rows], strict=True):
        with torch.no_grad():
            found.append(model(input_ids=torch.tensor([row]), token_type_ids=torch.tensor([kinds])))
    return found


def test_a_pair_of_texts_is_classified(fresh):
    served = build(
        fresh, "AutoModelForSequenceClassification", "classification", input={"kind": "text_pair"}, model=NAMED
    )
    first, second = ids("the", "cat", "sat"), ids("dog", "ran")
    known, answer = served.ask("classification", text=column("the cat sat", "dog"), text_pair=column("dog ran", "hill"))
    row = [CLS, *first, SEP, *second, SEP]
    other = [CLS, *ids("dog"), SEP, *ids("hill"), SEP]
    assert known["input_ids"].tolist() == [row, [*other, *[PAD] * (len(row) - len(other))]]
    kinds = [[0] * 5 + [1] * 3, [0] * 3 + [1] * 2]
    outputs = logits_of("AutoModelForSequenceClassification", [row, other], kinds, **NAMED)
    for number, output in enumerate(outputs):
        scores = output.logits.softmax(dim=-1)[0]
        order = scores.argsort(descending=True)
        assert answer["labels"][number].tolist() == [LABELS[index].encode() for index in order]
        np.testing.assert_allclose(answer["scores"][number], scores[order].numpy(), atol=1e-5)
    assert served.manifest["models"]["postprocessor"] == "tiny_postprocessor"


def test_a_document_in_windows_answers_a_question(fresh):
    given = {"kind": "question_context", "stride": 4, "max_windows": 8}
    served = build(fresh, "AutoModelForQuestionAnswering", "question_answering", input=given, export={"max_length": 16})
    context = " ".join(["the cat sat on the mat and the dog ran over the hill"] * 2)
    known, answer = served.ask("question_answering", question=column("how", "how do i"), context=column(context, "cat"))
    windows = known["row"].ravel().tolist()
    assert windows == sorted(windows)
    assert windows.count(0) > 2
    assert windows.count(1) == 1
    lengths = known["attention_mask"].sum(axis=1)
    rows = [known["input_ids"][row, :length].tolist() for row, length in enumerate(lengths)]
    kinds = [known["token_type_ids"][row, :length].tolist() for row, length in enumerate(lengths)]
    for row, output in enumerate(logits_of("AutoModelForQuestionAnswering", rows, kinds)):
        for side in ("start", "end"):
            expected = getattr(output, f"{side}_logits")[0].numpy()
            np.testing.assert_allclose(known[f"{side}_output"][row, : lengths[row]], expected, atol=1e-4)
    for row, text in enumerate((context, "cat")):
        start, end = int(answer["starts"][row, 0]), int(answer["ends"][row, 0])
        assert answer["answers"][row, 0].decode() == text[start:end] != ""
    # A document of eight windows at most, sixteen rows a batch: two documents a request.
    assert served.config("tiny").max_batch_size == 2
    assert served.config("tiny_postprocessor").max_batch_size == 16


def test_tokens_are_classified_to_entities(fresh):
    served = build(fresh, "AutoModelForTokenClassification", "token_classification", model=NAMED)
    texts = ["the cat sat on the mat", "dog"]
    known, answer = served.ask("token_classification", text=column(*texts))
    lengths = known["attention_mask"].sum(axis=1)
    rows = [[CLS, *ids(*text.split()), SEP] for text in texts]
    for number, output in enumerate(logits_of("AutoModelForTokenClassification", rows, **NAMED)):
        expected = output.logits[0].numpy()
        np.testing.assert_allclose(known["logits_output"][number, : lengths[number]], expected, atol=1e-4)
        named = {
            token for token, best in enumerate(expected.argmax(axis=1)) if 0 < token < lengths[number] - 1 and best
        }
        found = set()
        for entity in range(answer["counts"][number, 0]):
            start, end = answer["starts"][number, entity], answer["ends"][number, entity]
            assert answer["entities"][number, entity].decode() == texts[number][start:end]
            offsets = known["offsets"][number]
            found |= {t for t in range(1, lengths[number] - 1) if start <= offsets[t, 0] and offsets[t, 1] <= end}
        assert found == named
    assert answer["counts"].sum() > 0


def test_names_that_are_too_few_stop_the_export(fresh):
    write_bert(fresh.root / "model", "AutoModelForSequenceClassification", **NAMED)
    task = {"kind": "classification", "labels": ["one", "two"]}
    with pytest.raises(ExportError) as error:
        fresh.build("cpu", source={"kind": "huggingface", "model": "model/"}, task=task, targets=CPU)
    assert error.value.message == "'logits_output' of the model has shape [-1, 3], but the task expects ['batch', 2]"
    assert "id2label (or task.labels)" in error.value.hint
    assert not fresh.repository.exists()


def test_scores_without_names_stop_the_build_before_it_loads_anything(fresh):
    model = write_bert(fresh.root / "model", "AutoModelForSequenceClassification", **NAMED)
    config = json.loads((model / "config.json").read_text())
    del config["id2label"]
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(RecipeError, match="has no id2label, so its scores have no names"):
        fresh.build(
            "cpu",
            source={"kind": "huggingface", "model": "model/"},
            task={"kind": "classification"},
            targets=CPU,
            calibration=None,
        )
    assert not fresh.store.exists()


def test_another_head_stops_the_build_before_it_loads_anything(fresh):
    write_bert(fresh.root / "model", "AutoModelForTokenClassification", **NAMED)
    with pytest.raises(RecipeError) as error:
        fresh.build("cpu", source={"kind": "huggingface", "model": "model/"}, task={"kind": "fill_mask"}, targets=CPU)
    assert error.value.message == (
        "task fill_mask needs a model with a head ForMaskedLM or ForPreTraining, "
        "but its architecture is BertForTokenClassification"
    )
    assert error.value.hint == "Such a model does: token_classification, embedding."
    assert not fresh.store.exists()


def test_an_input_of_texts_needs_a_tokenizer(fresh):
    (fresh.root / "factory_of_a_test.py").write_text("def build():\n    raise AssertionError\n")
    source = {"kind": "python_module", "factory": "factory_of_a_test:build"}
    with pytest.raises(RecipeError, match="input text needs a tokenizer, and the source names none") as error:
        fresh.build("cpu", source=source, targets=CPU, calibration=None)
    assert error.value.context["field"] == "source.tokenizer"


LISTENER = """
import torch

class Listener(torch.nn.Module):
    def forward(self, input_values, attention_mask=None):
        weights = torch.ones_like(input_values) if attention_mask is None else attention_mask.to(input_values.dtype)
        loud = (input_values * weights) ** 2
        return torch.stack([loud.sum(dim=1), (input_values * weights).sum(dim=1)], dim=1) / weights.sum(dim=1)[:, None]

def build():
    return Listener()
"""


@pytest.mark.parametrize("window", [None, 40])
def test_sounds_of_any_length_and_windows_build(fresh, window):
    (fresh.root / "listener_of_a_test.py").write_text(LISTENER)
    given = {"kind": "waveform", "sampling_rate": 8000, "window": window}
    result = fresh.build(
        "cpu",
        source={"kind": "python_module", "factory": "listener_of_a_test:build"},
        task={"kind": "embedding", "normalize": False},
        input=given,
        export={"max_length": 64},
        targets=CPU,
        calibration=None,
    )
    assert "tokenizer" not in {step.action.stage for step in result.steps}
    served = Served(fresh)
    code = served.stage("tiny_preprocessor", "waveform")
    rng = np.random.default_rng(3)
    sounds = [rng.normal(size=(1, length)).astype(np.float32) for length in (12, 40, 7)]
    for sound, heard in zip(sounds, code.run([{"waveform": sound} for sound in sounds]), strict=True):
        inputs = {name: heard[name] for name in served.graph_inputs}
        lengths = {axis.name: heard[axis.mask].sum(axis=1) for axis in served.axes}
        answer = served.engine.run(ragged_inputs(inputs, served.axes, lengths))["embedding_output"]
        count = window or sound.size
        np.testing.assert_allclose(answer, [[(sound**2).sum() / count, sound.sum() / count]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("task", "given", "words", "field"),
    [
        (
            {"kind": "classification", "labels": ["up", "down"]},
            {"kind": "text"},
            "dataset rates pairs of rows, but task classification answers each row",
            "gates.accuracy.dataset",
        ),
        (
            {"kind": "embedding"},
            {"kind": "waveform", "sampling_rate": 8000},
            r"dataset: 'waveform' holds texts, and input waveform takes numbers",
            "gates.accuracy.dataset",
        ),
    ],
    ids=["classification of texts", "embedding of sounds"],
)
def test_an_accuracy_gate_that_cant_be_measured_stops_the_build(fresh, task, given, words, field):
    """It is no gate if it is left out silently; and nothing is exported for it."""
    (fresh.root / "listener_of_a_test.py").write_text(LISTENER)
    write_tokenizer(fresh.root)
    with pytest.raises(RecipeError, match=words) as error:
        fresh.build(
            "cpu",
            source={"kind": "python_module", "factory": "listener_of_a_test:build", "tokenizer": "."},
            task=task,
            input=given,
            targets=CPU,
            calibration=None,
            gates={"accuracy": {"dataset": {"kind": "lee"}, "max_drop": 0.01}},
        )
    assert error.value.context["field"] == field
    assert not fresh.repository.exists()
    assert not (fresh.store / "actions").exists()


def test_a_family_that_adapts_its_models_otherwise_exports_anew(fresh, monkeypatch):
    write_bert(fresh.root / "model")
    recipe = fresh.recipe(source={"kind": "huggingface", "model": "model/"}, targets=CPU, calibration=None)
    keys = []
    for version in (1, 2):
        monkeypatch.setattr(actions.model, "family_of", lambda _, version=version: Family(("bert",), version=version))
        exported = actions.actions_for(recipe, "cpu", fresh.store).exported
        keys.append(exported.key({name: str(digest) for name, digest in exported.inputs.items()}))
    assert len(set(keys)) == 2


SIAMESE = """
import torch

class Siamese(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(129, 2, _weight=torch.arange(258.0).reshape(129, 2).sin())

    def forward(self, left_input_ids, left_attention_mask, right_input_ids, right_attention_mask):
        left, right = self.mean(left_input_ids, left_attention_mask), self.mean(right_input_ids, right_attention_mask)
        return left - right

    def mean(self, ids, mask):
        weights = mask.to(torch.float32).unsqueeze(-1)
        return (self.table(ids) * weights).sum(dim=1) / weights.sum(dim=1)

def build():
    return Siamese()
"""


@pytest.mark.parametrize("axes", [["batch", "sequence"], ["batch"]])
def test_two_texts_apart_build(fresh, built, axes):
    """Also where every row is padded to one length: both sides are."""
    (fresh.root / "siamese_of_a_test.py").write_text(SIAMESE)
    source = {
        "kind": "python_module",
        "factory": "siamese_of_a_test:build",
        "tokenizer": str(built[0].root / "model"),
        "config": {"pad_token_id": 0, "id2label": {"0": "no", "1": "yes"}},
    }
    fresh.build(
        "cpu",
        source=source,
        task={"kind": "classification"},
        input={"kind": "two_texts"},
        export={"max_length": 24, "dynamic_axes": axes},
        targets=CPU,
        calibration=None,
    )
    left, right = ["the cat sat", "dog"], ["hill", "the mat ran over the hill"]
    known, answer = Served(fresh).ask("classification", text=column(*left), text_pair=column(*right))
    table = np.sin(np.arange(258.0).reshape(129, 2))
    means = [[table[[CLS, *ids(*text.split()), SEP]].mean(axis=0) for text in side] for side in (left, right)]
    np.testing.assert_allclose(known["logits_output"], np.subtract(*means), atol=1e-5)
    assert answer["labels"].shape == (2, 2)
