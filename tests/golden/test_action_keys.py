"""Keys of a fixed graph of actions: a change here makes every store start anew."""

from __future__ import annotations

import json
from dataclasses import replace

from tritonpack.core.action import Action, in_order
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store


def graph():
    def write(text):
        def run(inputs, out):
            out.write_text(text + "".join(inputs[name].read_text() for name in sorted(inputs)))
            return {}

        return run

    export = Action(
        "export",
        1,
        {"opset": 20, "dynamic_axes": ["batch", "sequence"], "task": {"kind": "embedding", "normalize": True}},
        {"weights": "0" * 64},
        write("graph"),
        "torch==2.13.0 onnx==1.23.2",
        "PyTorch -> ONNX",
    )
    lowered = Action("lower", 2, {"precision": "fp16"}, {"onnx": export}, write("half"), "onnx==1.23.2")
    ragged = Action("ragged", 1, {"pads": {"input_ids": 0}, "length": 48}, {"onnx": lowered}, write("ragged"))
    compiled = Action("compile", 1, {"engine": "onnxruntime", "profile": {}}, {"onnx": ragged}, write("engine"))
    verify = Action(
        "verify",
        1,
        {"gate": {"max_abs_error": None, "min_cosine": 0.999}, "name": "é"},
        {"candidate": compiled, "reference": export},
        write("report"),
        proves=compiled,
    )
    return [verify]


def keys(store, actions):
    runner = Runner(store)
    runner.run(actions)
    return {action.stage: runner._keys[action] for action in in_order(actions)}


def test_keys_of_a_fixed_graph(golden, tmp_path):
    found = keys(Store(tmp_path / "store"), graph())
    golden("action_keys.json", json.dumps(found, indent=1) + "\n")


def test_descriptions_are_in_no_key(tmp_path):
    (verify,) = graph()
    renamed = replace(verify, description="another name", proves=None)
    assert keys(Store(tmp_path / "1"), [verify])["verify"] == keys(Store(tmp_path / "2"), [renamed])["verify"]
