"""Which rows calibration takes, which it leaves for the probe, and how they are batched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tritonpack.core.errors import SourceError
from tritonpack.core.model import RaggedAxis
from tritonpack.stages.answers import Prepared
from tritonpack.stages.calibrate import Part, batches_from_prepared, read_batches
from tritonpack.stages.reference import read_reference

AXIS = RaggedAxis("sequence", "attention_mask", {"input_ids": 9, "attention_mask": 0}, 4096)
INPUTS = ("input_ids", "attention_mask")


def prepared(lengths, windows=1):
    """One request a length; its ids tell it apart from every other."""
    tensors = []
    for number, length in enumerate(lengths):
        ids = np.full((windows, length), 100 + number)
        tensors.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "row": np.zeros((windows, 1))})
    return Prepared([{}] * len(tensors), tensors, INPUTS, None, None)


def rows_of(path):
    """The rows of every batch by the number in them, with their lengths."""
    return {
        int(ids[0]): int(length)
        for case in read_reference(path)
        for ids, length in zip(case.inputs["input_ids"], case.lengths["sequence"], strict=True)
    }


def chosen(tmp_path, given, part=Part.CALIBRATION, samples=16):
    out = tmp_path / f"{part}.npz"
    facts = batches_from_prepared(given, part=part, axes=[AXIS], samples=samples, out=out)
    return facts, out


def test_calibration_is_spread_over_the_lengths_in_batches_of_like_length(tmp_path):
    facts, out = chosen(tmp_path, prepared([3 + number % 9 for number in range(600)]), samples=64)
    batches = read_batches(out)
    assert [len(batch["input_ids"]) for batch in batches] == [32, 32]
    assert batches[0]["input_ids"].shape[1] < batches[1]["input_ids"].shape[1]
    lengths = list(rows_of(out).values())
    assert sorted(lengths) == lengths
    assert set(lengths) == set(range(3, 12))
    assert facts == {"samples": 64, "elements": sum(lengths), "longest": 11}


def test_only_the_graphs_inputs_are_kept(tmp_path):
    _, out = chosen(tmp_path, prepared([4] * 8))
    assert [sorted(batch) for batch in read_batches(out)] == [["attention_mask", "input_ids"]]


def test_every_window_of_a_request_is_a_row(tmp_path):
    facts, _ = chosen(tmp_path, prepared([5] * 8, windows=2), samples=100)
    assert facts["samples"] == 16


def test_fewer_requests_than_samples_are_used_whole(tmp_path):
    facts, out = chosen(tmp_path, prepared([4] * 9))
    assert facts["samples"] == len(rows_of(out)) == 9


@pytest.mark.parametrize(
    ("part", "what"), [(Part.CALIBRATION, "calibration"), (Part.PROBE, "calibration"), (Part.TRAINING, "training")]
)
@pytest.mark.parametrize("count", [0, 7])
def test_too_few_requests_are_refused(tmp_path, part, what, count):
    with pytest.raises(SourceError, match=rf"^{count} {what} samples are too few; it takes at least 8$") as error:
        chosen(tmp_path, prepared([4] * count), part)
    assert error.value.hint == "Give a few hundred rows such as applications will send."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "samples"), [(24, 16), (100, 64), (400, 300), (1000, 50)])
def test_the_probe_is_of_rows_that_calibration_left(tmp_path, count, samples):
    given = prepared([3 + number % 20 for number in range(count)])
    _, calibration = chosen(tmp_path, given, samples=samples)
    facts, probe = chosen(tmp_path, given, Part.PROBE, samples=samples)
    assert facts["held_out"] is True
    assert facts["samples"] == len(rows_of(probe)) == min(128, count - samples)
    assert len(rows_of(calibration)) == samples
    assert rows_of(calibration).keys().isdisjoint(rows_of(probe))


@pytest.mark.parametrize(("count", "samples", "held_out"), [(9, 16, False), (23, 16, False), (24, 16, True)])
def test_where_calibration_leaves_too_few_the_probe_has_its_rows_and_says_so(tmp_path, count, samples, held_out):
    facts, _ = chosen(tmp_path, prepared([4] * count), Part.PROBE, samples=samples)
    assert facts["held_out"] is held_out
    assert facts["samples"] == (count - samples if held_out else count)


def test_the_probe_has_long_and_short_rows(tmp_path):
    given = prepared(list(range(3, 603)))
    _, out = chosen(tmp_path, given, Part.PROBE, samples=100)
    lengths = sorted(rows_of(out).values())
    assert (lengths[0] <= 10, lengths[-1] >= 595) == (True, True)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 4096), min_size=8, max_size=60), samples=st.integers(8, 80))
def test_a_batch_is_bounded_by_its_padded_elements_and_rows(tmp_path, lengths, samples):
    facts, out = chosen(tmp_path, prepared(lengths), samples=samples)
    batches = read_batches(out)
    for batch in batches:
        rows, width = batch["input_ids"].shape
        assert rows == 1 or (rows * width <= 2048 and rows <= 32)
    assert sum(len(batch["input_ids"]) for batch in batches) == facts["samples"] == min(samples, len(lengths))
    assert facts["elements"] == sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert facts["longest"] == max(lengths)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    paths = []
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        paths.append(chosen(tmp_path / name, prepared([3, 9, 5, 7, 4, 8, 6, 3, 9, 9]))[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("length", "rows"), [(10, 128), (96, 64), (2000, 16)])
def test_a_probe_of_long_rows_has_fewer_of_them(tmp_path, length, rows):
    facts, _ = chosen(tmp_path, prepared([length] * 200), Part.PROBE)
    assert facts == {"samples": rows, "elements": rows * length, "longest": length, "held_out": True}
