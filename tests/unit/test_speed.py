"""A precision must pay: what is measured, and what is said of it. No time here is a real one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tritonpack.core.errors import VerificationError
from tritonpack.core.model import RaggedAxis
from tritonpack.stages import speed
from tritonpack.stages.reference import Case, write_reference

AXIS = RaggedAxis("sequence", "attention_mask", {"input_ids": 0, "attention_mask": 0}, 48)
FOUND = {"speedup": 0.801, "quartiles": [0.7, 0.9], "baseline_s": 0.0204, "candidate_s": 0.0255, "rows": 12}


def checked(tmp_path, least, **changes):
    (tmp_path / "speed").write_text(json.dumps(FOUND | changes))
    return speed.check_speed(
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
    """Says which file was asked what, in which order; a clock of its own goes by the seconds that each takes."""

    def __init__(self, **seconds):
        self.seconds = {"baseline": 0.004, "candidate": 0.002} | seconds
        self.asked, self.now = [], 0.0

    def open(self, path):
        return Session(path.name, self)

    def perf_counter(self):
        return self.now


class Session:
    def __init__(self, name, engine):
        self.name, self.engine = name, engine

    def run(self, inputs):
        self.engine.asked.append((self.name, inputs))
        self.engine.now += self.engine.seconds[self.name]
        return {}


def case(rows, length):
    ids = np.arange(1, rows * length + 1).reshape(rows, length)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return Case(inputs, {"sequence": np.full(rows, length)}, {"out": np.zeros((rows, 1), np.float32)})


@pytest.fixture
def measured(tmp_path, monkeypatch):
    def measure(cases, engine):
        write_reference(cases, tmp_path / "reference")
        monkeypatch.setattr(speed, "time", engine)
        facts = speed.speed_from_engines(
            tmp_path / "candidate",
            tmp_path / "baseline",
            tmp_path / "reference",
            engine=engine,
            axes=[AXIS],
            out=tmp_path / "out",
        )
        assert json.loads((tmp_path / "out").read_text()) == facts
        return facts

    return measure


def test_the_facts_are_a_ratio_its_spread_and_both_times(measured):
    facts = measured([case(3, 4), case(2, 9)], Engine())
    assert facts == {
        "speedup": pytest.approx(2),
        "quartiles": [pytest.approx(2), pytest.approx(2)],
        "baseline_s": pytest.approx(0.008),
        "candidate_s": pytest.approx(0.004),
        "rows": 5,
        "rounds": 15,
    }


def test_one_round_that_was_disturbed_changes_nothing(measured):
    engine = Engine()
    disturbed = iter([engine.seconds] * 64)

    class Disturbed(Session):
        def run(self, inputs):
            super().run(inputs)
            if self.name == "candidate" and next(disturbed, None) is None:
                self.engine.now += 3

    engine.open = lambda path: Disturbed(path.name, engine)
    facts = measured([case(3, 4)] * 4, engine)
    assert facts["speedup"] == pytest.approx(2)


def test_both_take_turns_on_the_same_flat_rows(measured):
    engine = Engine()
    measured([case(3, 4), case(2, 9)], engine)
    names = [name for name, _ in engine.asked]
    warm, rounds = names[:3], names[3:]
    assert warm == ["baseline"] * 3
    assert rounds == ["baseline", "baseline", "candidate", "candidate"] * 17
    first, second, *others = (inputs for _, inputs in engine.asked[3:7])
    assert first["input_ids"].tolist() == list(range(1, 13))
    assert second["sequence_length"].ravel().tolist() == [9, 9]
    for one, other in zip((first, second), others, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_of_many_rows_that_take_long_some_are_enough_the_shortest_and_the_longest_among_them(measured):
    engine = Engine(baseline=0.2, candidate=0.4)
    facts = measured([case(1, length) for length in range(1, 12)], engine)
    lengths = {int(inputs["sequence_length"][0, 0]) for name, inputs in engine.asked if name == "candidate"}
    assert lengths == {1, 6, 11}
    assert facts["rows"] == 3
    assert facts["speedup"] == pytest.approx(0.5)
