from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tritonpack.core.action import Action, in_order

WORDS = st.text('abc:{}",', max_size=4)
VALUES = st.dictionaries(
    WORDS, st.none() | st.integers(0, 3) | WORDS | st.lists(st.integers(0, 2), max_size=2), max_size=2
)
ACTIONS = st.builds(
    lambda stage, version, parameters, identity: Action(stage, version, parameters, {}, nothing, identity),
    WORDS, st.integers(0, 3), VALUES, WORDS,
)  # fmt: skip
DIGESTS = st.dictionaries(WORDS, WORDS, max_size=2)


def nothing(_inputs, _out):
    return {}


def node(name, **inputs):
    return Action(name, 1, {}, inputs, nothing)


def _says(action, digests):
    return (
        action.stage,
        action.version,
        repr(sorted(action.parameters.items())),
        sorted(digests.items()),
        action.identity,
    )


@given(ACTIONS, ACTIONS, DIGESTS, DIGESTS)
def test_keys_are_equal_only_where_stage_version_parameters_inputs_and_identity_are(one, other, left, right):
    assert (one.key(left) == other.key(right)) == (_says(one, left) == _says(other, right))


@given(ACTIONS, DIGESTS)
def test_each_part_alone_changes_the_key(action, digests):
    changed = [
        replace(action, stage=action.stage + "x").key(digests),
        replace(action, version=action.version + 1).key(digests),
        replace(action, parameters={**action.parameters, "new": 1}).key(digests),
        replace(action, identity=action.identity + "x").key(digests),
        action.key({**digests, "new": "0"}),
    ]
    assert len({action.key(digests), *changed}) == 6


@given(ACTIONS, DIGESTS, st.text())
def test_a_description_isnt_in_the_key(action, digests, text):
    assert replace(action, description=text, proves=node("x")).key(digests) == action.key(digests)


def test_a_key_is_full_hex():
    key = node("export").key({"weights": "1"})
    assert len(key) == 64
    assert int(key, 16) >= 0


def test_inputs_come_first_and_each_action_once():
    source = node("source", file="digest")
    left, right = node("left", a=source), node("right", a=source)
    last = node("last", a=right, b=left, c="digest")
    assert list(in_order([last, left])) == [source, right, left, last]
    assert list(in_order([left, last])) == [source, left, right, last]
    assert list(in_order([])) == []
