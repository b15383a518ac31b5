"""The cases are as the README says, and their results are those of the reference."""

import dataclasses
import json
from pathlib import Path

import pytest
from compare import array_from_json
from faults import Faults
from reference import REFERENCES
from run_python import FIRST

FILES = sorted(Path(__file__).resolve().parents[1].glob("cases/*.json"))
CASES = [case for path in FILES for case in json.loads(path.read_text(encoding="utf-8"))]
KEYS = {
    "name", "call", "model", "arguments", "client", "faults", "endpoints", "warm", "expect", "executed", "took_s",
}  # fmt: skip
FAULTS = {field.name for field in dataclasses.fields(Faults)}


def test_names_are_unique():
    names = [case["name"] for case in CASES]
    assert len(names) > 150
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_case_keeps_to_the_format(case):
    assert set(case) <= KEYS
    assert len(case["expect"]) == 1
    assert set(case["expect"]) <= {"result", "result_contains", "error"}
    assert set(case["expect"].get("error", {})) <= {"class", "attempts", "contains"}
    assert not ("faults" in case and "endpoints" in case)
    for faults in [*case.get("endpoints", []), case.get("faults", {})]:
        assert set(faults) <= FAULTS
    if case["call"] in FIRST:
        assert FIRST[case["call"]] in case["arguments"]


def has_reference(case):
    """Whether the reference knows the result; of an empty list it knows no width."""
    argument = case.get("arguments", {}).get(FIRST.get(case["call"]))
    known = (case["call"], case.get("model")) in REFERENCES and "result" in case["expect"]
    return known and bool(argument)


@pytest.mark.parametrize("case", [*filter(has_reference, CASES)], ids=lambda case: case["name"])
def test_a_result_is_the_reference(case):
    argument = case["arguments"][FIRST[case["call"]]]
    assert case["expect"]["result"] == approximately(REFERENCES[case["call"], case["model"]](argument))


@pytest.mark.parametrize("case", [case for case in CASES if case.get("model") == "echo"], ids=lambda case: case["name"])
def test_an_echo_is_what_was_sent(case):
    if "result" in case["expect"] and case["call"] == "infer":
        sent = {name.replace("in_", "out_"): tensor for name, tensor in case["arguments"]["inputs"].items()}
        assert case["expect"]["result"] == sent
        for tensor in sent.values():
            assert list(array_from_json(tensor).shape) == tensor["shape"]


def approximately(result):
    """The same with numbers that equal what is close to them."""
    if isinstance(result, dict):
        return {key: approximately(value) for key, value in result.items()}
    if isinstance(result, list):
        return [approximately(value) for value in result]
    return pytest.approx(result, abs=1e-6) if isinstance(result, float) else result
