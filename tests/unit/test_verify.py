from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tritonpack.core.errors import VerificationError
from tritonpack.core.model import ModelTraits
from tritonpack.core.tensors import TensorSpec, Tolerance
from tritonpack.inputs import INPUTS
from tritonpack.stages.reference import Case, read_reference, write_reference
from tritonpack.stages.verify import measured, report_from_candidate
from tritonpack.tasks import TASKS

TASK = TASKS.get("embedding")
TEXT = INPUTS.get("text")
OPTIONS = TEXT.options(kind="text")
MODEL = ModelTraits({"vocab_size": 50}, max_length=48)
AXES = TEXT.axes(OPTIONS, MODEL)
RNG = np.random.default_rng(7)
OUTPUTS = [TensorSpec("vectors", "float32", ("batch", 4))]


def case(rows, length, seed):
    rng = np.random.default_rng(seed)
    sample = TEXT.sample(rng, rows, length, OPTIONS, MODEL)
    return Case(sample.inputs, sample.lengths, {"vectors": rng.normal(size=(rows, 4)).astype(np.float32)})


CASES = [case(1, 3, 0), case(3, 9, 1)]


class Engine:
    """Answers what the reference says, changed by a function of the case's number."""

    def __init__(self, change=lambda _number, outputs: outputs):
        self.change = change
        self.seen = []

    def open(self, path):
        assert path.name == "candidate"
        return self

    def run(self, inputs):
        self.seen.append(inputs)
        number = len(self.seen) - 1
        return self.change(number, {name: array.copy() for name, array in CASES[number].outputs.items()})


def report(tmp_path, engine, gate=None, *, ragged=False):
    reference, out = tmp_path / "reference", tmp_path / "report"
    write_reference(CASES, reference)
    facts = report_from_candidate(
        tmp_path / "candidate",
        reference,
        engine=engine,
        task=TASK,
        outputs=OUTPUTS,
        axes=AXES if ragged else None,
        tolerance=gate or Tolerance(max_abs_error=1e-3, min_cosine=0.99),
        name="ONNX int8",
        out=out,
    )
    assert json.loads(out.read_text()) == facts
    return facts


def test_a_reference_survives_the_file(tmp_path):
    write_reference(CASES, tmp_path / "r")
    for read, written in zip(read_reference(tmp_path / "r"), CASES, strict=True):
        for side in ("inputs", "lengths", "outputs"):
            assert getattr(read, side).keys() == getattr(written, side).keys()
            for name, array in getattr(written, side).items():
                assert np.array_equal(getattr(read, side)[name], array)
                assert getattr(read, side)[name].dtype == array.dtype


def test_a_candidate_that_agrees_is_reported(tmp_path):
    facts = report(tmp_path, Engine(lambda number, outputs: {"vectors": outputs["vectors"] + 1e-4 * (number + 1)}))
    assert (facts["status"], facts["cases"]) == ("verified", 2)
    assert facts["gate"] == {"max_abs_error": 1e-3, "min_cosine": 0.99, "mean_cosine": None}
    agreement = facts["outputs"]["vectors"]
    assert agreement["max_abs_error"] == pytest.approx(2e-4, rel=1e-2)
    assert agreement["mean_abs_error"] == pytest.approx(1.5e-4, rel=1e-2)
    assert 0.99 < agreement["min_cosine"] <= agreement["mean_cosine"] <= 1 + 1e-9


def spoil(row):
    def change(number, outputs):
        if number == 1:
            outputs["vectors"][row] *= -1
        return outputs

    return change


@pytest.mark.parametrize("row", [0, 2])
def test_a_failure_names_output_input_row_and_what_to_try(tmp_path, row):
    with pytest.raises(VerificationError) as error:
        report(tmp_path, Engine(spoil(row)), Tolerance(min_cosine=0.9))
    assert error.value.message.startswith("ONNX int8: output 'vectors' ")
    assert error.value.message.endswith(
        f": lowest cosine -1.00000 is under the gate 0.9 (input 1: 3 rows, longest sequence 9; worst vector {row})"
    )
    assert "int8 -> int8_dynamic -> fp16 -> fp32" in error.value.hint
    assert "gates.parity" in error.value.hint
    assert error.value.context == {"output": "vectors", "case": 1, "row": row, "candidate": "ONNX int8"}
    assert error.value.exit_code == 4
    assert not (tmp_path / "report").exists()


def test_nan_fails_whatever_the_gate(tmp_path):
    def change(_number, outputs):
        outputs["vectors"][0, 0] = np.nan
        return outputs

    with pytest.raises(VerificationError, match="holds NaN or infinity, which no gate allows"):
        report(tmp_path, Engine(change), Tolerance(mean_cosine=-1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _n, _o: {}, r"output 'vectors' isn't there; PyTorch gives \(1, 4\)"),
        (
            lambda _n, o: {"vectors": o["vectors"][:, :3]},
            r"output 'vectors' has shape \(1, 3\); PyTorch gives \(1, 4\)",
        ),
        (lambda _n, o: {"vectors": o["vectors"][None]}, r"has shape \(1, 1, 4\)"),
    ],
)
def test_an_output_that_is_missing_or_of_another_shape_is_named(tmp_path, change, words):
    with pytest.raises(VerificationError, match=words):
        report(tmp_path, Engine(change))


def test_a_padded_candidate_gets_the_references_inputs(tmp_path):
    engine = Engine()
    report(tmp_path, engine)
    assert all(np.array_equal(engine.seen[1][name], array) for name, array in CASES[1].inputs.items())


def test_a_ragged_candidate_gets_flat_rows(tmp_path):
    engine = Engine()
    report(tmp_path, engine, ragged=True)
    mask = CASES[1].inputs["attention_mask"]
    assert engine.seen[1]["sequence_length"].ravel().tolist() == mask.sum(axis=1).tolist()
    assert engine.seen[1]["input_ids"].tolist() == CASES[1].inputs["input_ids"][mask == 1].tolist()


def damage(change, outputs=OUTPUTS):
    found = measured(
        Engine(change), CASES, task=TASK, outputs=outputs, axes=None, tolerance=Tolerance(min_cosine=0.99), name="x"
    )
    return found.damage, found.failure


def test_the_same_has_no_damage():
    assert damage(lambda _number, outputs: outputs) == (0, None)


def test_damage_is_the_squared_error_by_the_variance_of_all_rows():
    every = np.concatenate([case.outputs["vectors"] for case in CASES])
    mean = every.mean()
    found, failure = damage(lambda _number, outputs: {"vectors": np.full_like(outputs["vectors"], mean)})
    assert found == pytest.approx(1, rel=1e-5)
    assert failure is not None
    found, _ = damage(lambda _number, outputs: {"vectors": outputs["vectors"] + np.float32(0.01)})
    assert found == pytest.approx(1e-4 / every.astype(np.float64).var(), rel=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_isnt_finite_has_no_end_of_damage(value):
    def change(_number, outputs):
        outputs["vectors"][0, 0] = value
        return outputs

    found, failure = damage(change)
    assert found == np.inf
    assert "holds NaN or infinity" in failure.message


def test_the_first_broken_gate_is_told_and_every_case_is_measured():
    found = measured(
        Engine(lambda _number, outputs: {"vectors": -outputs["vectors"]}),
        CASES,
        task=TASK,
        outputs=OUTPUTS,
        axes=None,
        tolerance=Tolerance(min_cosine=0.9),
        name="x",
    )
    assert found.failure.context["case"] == 0
    assert found.outputs["vectors"]["min_cosine"] == pytest.approx(-1)
    greatest = max(2 * np.abs(case.outputs["vectors"]).max() for case in CASES)
    assert found.outputs["vectors"]["max_abs_error"] == pytest.approx(greatest)


TOKENS = TensorSpec("tokens", "float32", ("batch", "sequence", 2))
SCORES = TensorSpec("scores", "float32", ("batch", "sequence"))
TWO = Case({}, {"sequence": np.array([3, 1])})


def test_what_stands_at_a_rows_padding_doesnt_count():
    array = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert TWO.kept(array, TOKENS).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_number_a_token_is_one_vector_over_all_rows():
    assert TWO.kept(np.arange(6, dtype=np.float32).reshape(2, 3), SCORES).tolist() == [[0, 1, 2, 3]]


def test_an_output_without_the_axis_is_kept_whole():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert TWO.kept(array, TensorSpec("x", "float32", ("batch", 3))) is array
    assert TWO.kept(array[:, 0], TensorSpec("x", "float32", ("batch",))).tolist() == [0, 3]


class Padder:
    """Answers the reference, but for what stands at the padding."""

    def __init__(self, cases, fill):
        self.cases, self.fill = iter(cases), fill

    def open(self, _path):
        return self

    def run(self, _inputs):
        case = next(self.cases)
        padding = case.inputs["attention_mask"] == 0
        outputs = {name: array.copy() for name, array in case.outputs.items()}
        for array in outputs.values():
            array[padding] = self.fill
        return outputs


@pytest.mark.parametrize("fill", [1000, np.nan])
def test_a_candidate_may_say_anything_of_padding(tmp_path, fill):
    cases = [replace(case, outputs={"tokens": RNG.normal(size=(*case.inputs["input_ids"].shape, 2))}) for case in CASES]
    write_reference(cases, tmp_path / "reference")
    facts = report_from_candidate(
        tmp_path / "candidate",
        tmp_path / "reference",
        engine=Padder(cases, fill),
        task=TASKS.get("token_classification"),
        outputs=[TOKENS],
        axes=AXES,
        tolerance=Tolerance(max_abs_error=1e-6),
        name="x",
        out=tmp_path / "report",
    )
    assert facts["outputs"]["tokens"]["max_abs_error"] == 0
