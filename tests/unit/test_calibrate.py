"""Rows to calibrate on: spread over their lengths, in batches of bounded size, and others held out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tritonpack.core.errors import SourceError
from tritonpack.core.model import RaggedAxis
from tritonpack.stages.calibrate import Part, batches_from_prepared, read_batches
from tritonpack.stages.reference import read_reference

AXIS = RaggedAxis("sequence", "attention_mask", {"input_ids": 9, "attention_mask": 0}, 2000)


def prepared(lengths, windows=1):
    """Requests of so many tokens, each of a number of its own, in so many rows each."""
    rows = [
        [
            {"input_ids": np.full((1, length), number), "attention_mask": np.ones((1, length), np.int64)}
            for _ in range(windows)
        ]
        for number, length in enumerate(lengths)
    ]
    return SimpleNamespace(requests=[{}] * len(rows), rows=lambda: rows)


def chosen(tmp_path, lengths, *, part=Part.CALIBRATION, samples=16, windows=1):
    out = tmp_path / str(part)
    facts = batches_from_prepared(prepared(lengths, windows), part=part, axes=[AXIS], samples=samples, out=out)
    numbers = [int(number) for batch in read_batches(out) for number in batch["input_ids"][:, 0]]
    return facts, numbers, read_reference(out)


def test_rows_are_spread_over_the_lengths_in_batches_of_like_length(tmp_path):
    facts, numbers, cases = chosen(tmp_path, [1 + number * 7 % 60 for number in range(60)])
    lengths = np.concatenate([case.lengths["sequence"] for case in cases])
    assert lengths.tolist() == sorted(lengths.tolist())
    assert (lengths[0], lengths[-1], facts["longest"]) == (1, 60, 60)
    assert len(set(numbers)) == facts["samples"] == 16
    assert facts["elements"] == lengths.sum()


def test_fewer_requests_than_samples_are_used_whole(tmp_path):
    assert sorted(chosen(tmp_path, [3] * 9)[1]) == list(range(9))


def test_a_batch_is_bounded_by_rows_and_by_elements_padding_included(tmp_path):
    _, numbers, cases = chosen(tmp_path, [1] * 70 + [900] * 5 + [2000], samples=99)
    assert [len(case.inputs["input_ids"]) for case in cases] == [32, 32, 6, 2, 2, 1, 1]
    assert sorted(numbers) == list(range(76))


def test_a_probe_is_of_rows_that_calibration_left_over(tmp_path):
    lengths = [1 + number * 7 % 60 for number in range(60)]
    _, calibrated, _ = chosen(tmp_path, lengths)
    facts, probed, _ = chosen(tmp_path, lengths, part=Part.PROBE)
    assert facts["held_out"]
    assert not set(calibrated) & set(probed)
    assert len(probed) == facts["samples"] == 44


def test_a_probe_of_rows_that_calibration_saw_says_so(tmp_path):
    facts, probed, _ = chosen(tmp_path, [3] * 20, part=Part.PROBE, samples=16)
    assert not facts["held_out"]
    assert sorted(probed) == list(range(20))


def test_a_request_of_several_rows_gives_each(tmp_path):
    facts, numbers, _ = chosen(tmp_path, [3] * 8, windows=3, samples=99)
    assert facts["samples"] == 24
    assert sorted(numbers) == sorted([*range(8)] * 3)


def test_too_few_requests_are_refused(tmp_path):
    with pytest.raises(SourceError, match="7 calibration samples are too few; it takes at least 8"):
        chosen(tmp_path, [3] * 7)
    assert not (tmp_path / "calibration").exists()
