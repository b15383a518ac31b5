"""A precision must pay: what is measured, and what is said of it. No figure here is a real time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tritonpack.core.errors import VerificationError
from tritonpack.core.model import RaggedAxis
from tritonpack.stages.reference import Case, write_reference
from tritonpack.stages.speed import check_speed, speed_from_engines

AXIS = RaggedAxis("sequence", "attention_mask", {"input_ids": 0, "attention_mask": 0}, 48)
FOUND = {"speedup": 0.801, "quartiles": [0.7, 0.9], "baseline_s": 0.0204, "candidate_s": 0.0255, "rows": 12}


def checked(tmp_path, least, **changes):
    (tmp_path / "speed").write_text(json.dumps(FOUND | changes))
    return check_speed(
        {"speed": tmp_path / "speed"}, least=least, name="onnxruntime int8", safer="fp16", out=tmp_path / "out"
    )


def test_what_doesnt_pay_is_refused_with_the_figures(tmp_path):
    with pytest.raises(VerificationError) as error:
        checked(tmp_path, 1.05)
    assert error.value.message == (
        "onnxruntime int8: 0.80 times as fast as fp16 (25.5 ms against 20.4 ms for 12 rows), but gates.min_speedup "
        "is 1.05: it doesn't pay"
    )
    assert error.value.hint == "Use precision: fp16, or set gates.min_speedup (null: slower will do)."
    assert error.value.context == {"candidate": "onnxruntime int8", "speedup": 0.801}
    assert error.value.exit_code == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("speedup", "least"), [(1.05, 1.05), (1.8, 1.05), (0.9, 0.9), (0.801, 0.5)])
def test_what_pays_is_reported(tmp_path, speedup, least):
    facts = checked(tmp_path, least, speedup=speedup)
    assert facts == {"status": "verified", "min_speedup": least, "safer": "fp16", **FOUND, "speedup": speedup}
    assert json.loads((tmp_path / "out").read_text()) == facts


class Engine:
    """Says which file was asked what, in which order."""

    def __init__(self):
        self.asked = []

    def open(self, path):
        return Session(path.name, self.asked)


class Session:
    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def run(self, inputs):
        self.asked.append((self.name, inputs))
        return {}


def case(rows, length):
    ids = np.arange(1, rows * length + 1).reshape(rows, length)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return Case(inputs, {"sequence": np.full(rows, length)}, {"out": np.zeros((rows, 1), np.float32)})


def measured(tmp_path, cases):
    write_reference(cases, tmp_path / "reference")
    engine = Engine()
    facts = speed_from_engines(
        tmp_path / "candidate",
        tmp_path / "baseline",
        tmp_path / "reference",
        engine=engine,
        axes=[AXIS],
        out=tmp_path / "out",
    )
    assert json.loads((tmp_path / "out").read_text()) == facts
    return facts, engine.asked


def test_the_facts_are_a_ratio_its_spread_and_both_times(tmp_path):
    facts, asked = measured(tmp_path, [case(3, 4), case(2, 9)])
    assert set(facts) == {"speedup", "quartiles", "baseline_s", "candidate_s", "rows", "rounds"}
    assert facts["rows"] == 5
    assert len(asked) > 2 * 2 * facts["rounds"]  # those before it warms up don't count
    assert facts["baseline_s"] > 0
    assert facts["candidate_s"] > 0
    low, high = facts["quartiles"]
    assert 0 < low <= facts["speedup"] <= high


def test_both_take_turns_on_the_same_flat_rows(tmp_path):
    _, asked = measured(tmp_path, [case(3, 4), case(2, 9)])
    names = [name for name, _ in asked]
    assert names == ["baseline", "baseline", "candidate", "candidate"] * (len(asked) // 4)
    assert asked[0][1]["input_ids"].tolist() == list(range(1, 13))
    assert asked[1][1]["sequence_length"].ravel().tolist() == [9, 9]
    for one, other in zip(asked[:2], asked[2:4], strict=True):
        assert all(np.array_equal(one[1][name], other[1][name]) for name in one[1])
