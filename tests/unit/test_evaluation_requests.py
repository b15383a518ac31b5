from __future__ import annotations

import numpy as np
import pytest

from tritonpack.core.errors import SourceError
from tritonpack.evaluation import Examples
from tritonpack.evaluation.requests import check_leakage, requests_from_examples

TEXTS = Examples([{"text": f"text {n}", "text_pair": "é"} for n in range(40)], None)
SOUNDS = Examples([{"waveform": np.full(4, n, np.float32)} for n in range(40)], None)


def test_a_request_is_one_row():
    requests = requests_from_examples(TEXTS, ["text", "text_pair"])
    assert len(requests) == 40
    assert requests[3]["text"].tolist() == [[b"text 3"]]
    assert requests[3]["text_pair"].tolist() == [["é".encode()]]
    assert requests[3]["text"].dtype == object
    (sound, *_) = requests_from_examples(SOUNDS, ["waveform"])
    assert (sound["waveform"].shape, sound["waveform"].dtype) == ((1, 4), np.float32)


@pytest.mark.parametrize("data", [TEXTS, SOUNDS])
def test_the_evaluation_set_itself_is_refused(data):
    names = list(data.rows[0])
    for calibration in (data.rows, data.rows[::-1], requests_from_examples(data, names)):
        with pytest.raises(SourceError, match="holds the evaluation set itself: 40 of 40 evaluation rows") as error:
            check_leakage(calibration, data)
        assert error.value.context == {"field": "calibration", "shared": 40, "rows": 40}
        assert "training texts" in error.value.hint


def test_a_part_is_refused_from_a_tenth_on():
    others = [{"text": f"other {n}", "text_pair": "é"} for n in range(60)]
    check_leakage([*others, *TEXTS.rows[:4]], TEXTS)
    with pytest.raises(SourceError, match=r"holds 12% of the evaluation set: 5 of 40 .* 65 calibration rows"):
        check_leakage([*others, *TEXTS.rows[:5]], TEXTS)


def test_rows_are_the_same_if_all_their_inputs_are():
    check_leakage([{**row, "text_pair": "e"} for row in TEXTS.rows], TEXTS)
    check_leakage([{"waveform": row["waveform"] + 0.5} for row in SOUNDS.rows], SOUNDS)
    with pytest.raises(SourceError, match="40 of 40"):
        check_leakage([{"text_pair": " é ", "text": f"{row['text']}\n"} for row in TEXTS.rows], TEXTS)
    check_leakage([], TEXTS)
    check_leakage(TEXTS.rows, Examples([], None))
