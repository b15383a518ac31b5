from __future__ import annotations

import json

import numpy as np
import pytest

from tritonpack.core.errors import VerificationError
from tritonpack.core.tensors import Tolerance
from tritonpack.stages.reference import Case, read_reference, write_reference
from tritonpack.stages.verify import report_from_candidate
from tritonpack.tasks import TASKS

TASK = TASKS.get("embedding")


def case(rows, length, seed):
    rng = np.random.default_rng(seed)
    inputs = TASK.sample_inputs(rng, rows, length, {"vocab_size": 50})
    return Case(inputs, {"vectors": rng.normal(size=(rows, 4)).astype(np.float32)})


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
        tolerance=gate or Tolerance(max_abs_error=1e-3, min_cosine=0.99),
        ragged=ragged,
        name="ONNX int8",
        out=out,
    )
    assert json.loads(out.read_text()) == facts
    return facts


def test_a_reference_survives_the_file(tmp_path):
    write_reference(CASES, tmp_path / "r")
    for read, written in zip(read_reference(tmp_path / "r"), CASES, strict=True):
        for side in ("inputs", "outputs"):
            assert getattr(read, side).keys() == getattr(written, side).keys()
            for name, array in getattr(written, side).items():
                assert np.array_equal(getattr(read, side)[name], array)
                assert getattr(read, side)[name].dtype == array.dtype


def test_a_candidate_that_agrees_is_reported(tmp_path):
    facts = report(tmp_path, Engine(lambda number, outputs: {"vectors": outputs["vectors"] + 1e-4 * (number + 1)}))
    assert (facts["status"], facts["cases"]) == ("verified", 2)
    assert facts["gate"] == {"max_abs_error": 1e-3, "min_cosine": 0.99, "mean_cosine": None}
    measured = facts["outputs"]["vectors"]
    assert measured["max_abs_error"] == pytest.approx(2e-4, rel=1e-2)
    assert measured["mean_abs_error"] == pytest.approx(1.5e-4, rel=1e-2)
    assert 0.99 < measured["min_cosine"] <= measured["mean_cosine"] <= 1 + 1e-9


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
    tokens = int(CASES[1].inputs["attention_mask"][row].sum())
    assert error.value.message.startswith("ONNX int8: output 'vectors' ")
    assert error.value.message.endswith(
        ": lowest cosine -1.00000 is under the gate 0.9 "
        f"(input 1: 3 rows of up to 9 tokens; worst row {row}, {tokens} tokens)"
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
    assert engine.seen[1]["row_length"].ravel().tolist() == mask.sum(axis=1).tolist()
    assert engine.seen[1]["input_ids"].tolist() == CASES[1].inputs["input_ids"][mask == 1].tolist()
