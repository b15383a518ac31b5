"""How large the calls are that an encoder makes of the requests that came together."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tritonpack import server

sys.path.insert(0, str(Path(server.__file__).parent / "backends" / "onnxruntime"))  # as the stub imports it

import encoder as encoder_module
from encoder import Encoder


class Recorder:
    """A session that answers each row's first element, and remembers the rows and the longest row of each call."""

    library = "Recorder"
    best_tokens = 64.0

    def __init__(self, *_):
        self.calls = []

    def run(self, _, feeds):
        lengths = feeds["lengths"].reshape(-1)
        self.calls.append((len(lengths), int(lengths.max())))
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
        return [feeds["values"][starts].reshape(-1, 1)]


def encoder_of(monkeypatch, folder, data_type="TYPE_INT64", **parameters):
    monkeypatch.setitem(encoder_module.SESSIONS, "onnxruntime", Recorder)
    (folder / "model.onnx").touch()
    config = {
        "backend": "onnxruntime",
        "max_batch_size": 64,
        "input": [{"name": "values", "data_type": data_type, "dims": [-1], "allow_ragged_batch": True}],
        "output": [{"name": "first"}],
        "batch_input": [
            {
                "kind": "BATCH_ELEMENT_COUNT",
                "source_input": ["values"],
                "target_name": ["lengths"],
                "data_type": "TYPE_INT32",
            }
        ],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }
    encoder = Encoder(config, folder)
    encoder._session.calls.clear()
    return encoder


def run(encoder, lengths, dtype=np.int64):
    requests = [{"values": np.full((1, length), number, dtype)} for number, length in enumerate(lengths)]
    answers = encoder.run(requests)
    assert [answer["first"].item() for answer in answers] == list(range(len(lengths)))
    return encoder._session.calls


def test_a_call_holds_as_many_tokens_as_the_library_likes(monkeypatch, tmp_path):
    encoder = encoder_of(monkeypatch, tmp_path, call_cost="1e9")
    assert run(encoder, [16] * 10) == [(4, 16), (3, 16), (3, 16)]
    encoder._session.calls.clear()
    assert run(encoder, [100, 3, 100, 3]) == [(1, 3), (1, 3), (1, 100), (1, 100)]


def test_the_configuration_may_say_otherwise(monkeypatch, tmp_path):
    assert run(encoder_of(monkeypatch, tmp_path, call_cost="1e9", max_call_tokens="1000"), [16] * 10) == [(10, 16)]
    assert run(encoder_of(monkeypatch, tmp_path, call_cost="1e9", max_call_tokens="0"), [2, 2]) == [(1, 2), (1, 2)]
    with pytest.raises(ValueError, match="parameter max_call_tokens is 'many'; it takes a number"):
        encoder_of(monkeypatch, tmp_path, max_call_tokens="many")


def test_samples_of_a_sound_are_no_tokens(monkeypatch, tmp_path):
    encoder = encoder_of(monkeypatch, tmp_path, "TYPE_FP32", call_cost="1e9")
    assert run(encoder, [1000] * 4, np.float32) == [(4, 1000)]
