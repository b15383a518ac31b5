"""The search for the layers that INT8 suits, with measures made up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack.precisions import Group
from tritonpack.stages.search import Layer, Trial, largest_set

NAMES = "abcdefgh"


def groups(**works):
    """Groups by name, each with its multiplications."""
    return [Group(name, (f"{name}.matmul",), work) for name, work in works.items()]


class Graph:
    """Measures by adding up what each group costs; INT8 costs may also depend on one another."""

    def __init__(self, costs, budget, together=0.0):
        self.costs, self.budget, self.together = costs, budget, together
        self.sets, self.alone = [], []

    def damage(self, names):
        return sum(self.costs[name] for name in names) + self.together * max(0, len(names) - 1)

    def measure(self, names):
        assert names
        self.sets.append("".join(sorted(names)))
        damage = self.damage(names)
        return Trial(damage, "" if damage <= self.budget else f"damage {damage:g} is over {self.budget:g}", 1 - damage)

    def damage_of(self, name):
        self.alone.append(name)
        return self.costs[name]


def found(graph, trials=100, works=None):
    works = works or dict.fromkeys(graph.costs, 10)
    return largest_set(groups(**works), measure=graph.measure, damage_of=graph.damage_of, trials=trials)


def quantized(answer):
    return "".join(layer.name for layer in answer.layers if layer.quantized)


def test_where_everything_fits_one_set_says_so_and_each_damage_is_told():
    graph = Graph({"a": 1, "b": 2, "c": 3}, budget=6)
    answer = found(graph)
    assert (answer.met, answer.trials, quantized(answer)) == (True, 4, "abc")
    assert (graph.sets, graph.alone) == (["abc"], ["a", "b", "c"])
    assert answer.chosen == answer.everything == Trial(6, "", -5)
    assert [layer.damage for layer in answer.layers] == [1, 2, 3]


def test_where_everything_fits_damages_are_told_as_far_as_trials_go():
    graph = Graph({"a": 1, "b": 2, "c": 3}, budget=6)
    answer = found(graph, trials=3, works={"a": 1, "b": 3, "c": 2})
    assert (answer.met, answer.trials, quantized(answer)) == (True, 3, "abc")
    assert [layer.damage for layer in answer.layers] == [None, 2, 3]


def test_bisection_finds_the_largest_prefix_of_the_harmless():
    graph = Graph({name: 2**place for place, name in enumerate(NAMES)}, budget=2**5 - 1)
    answer = found(graph)
    assert quantized(answer) == "abcde"
    assert answer.chosen.damage == 31
    assert answer.everything == Trial(255, "damage 255 is over 31", -254)
    # Everything; half; then between; afterwards each of those that bisection didn't refuse by itself.
    assert graph.sets[:4] == ["abcdefgh", "abcd", "abcdef", "abcde"]
    assert graph.alone == list(NAMES)
    assert answer.trials == len(graph.sets) + len(graph.alone)


def test_groups_come_by_their_damage_for_the_work_that_they_save():
    """The greatest damage saves so much that it goes first."""
    graph = Graph({"a": 3, "b": 2, "c": 4}, budget=4)
    answer = found(graph, works={"a": 10, "b": 10, "c": 100})
    assert quantized(answer) == "c"
    assert [layer.gain for layer in answer.layers] == [pytest.approx(10 / 120), pytest.approx(10 / 120), 100 / 120]


def test_what_bisection_left_out_is_tried_again_one_by_one():
    """`b` is what breaks the budget; `c` fits without it, `d` beside both doesn't."""
    graph = Graph({"a": 1, "b": 5, "c": 4, "d": 6}, budget=5)
    answer = found(graph, works={"a": 10, "b": 40, "c": 20, "d": 10})
    assert quantized(answer) == "ac"
    assert graph.sets == ["abcd", "ab", "a", "ac", "acd"]


def test_where_no_prefix_fits_each_is_tried_alone():
    graph = Graph({"a": 9, "b": 5, "c": 4}, budget=4)
    answer = found(graph, works={"a": 1000, "b": 10, "c": 1})
    assert (answer.met, quantized(answer)) == (True, "c")


def test_where_nothing_fits_the_nearest_is_told():
    graph = Graph({"a": 9, "b": 5, "c": 7}, budget=1)
    answer = found(graph)
    assert (answer.met, quantized(answer)) == (False, "")
    assert answer.chosen == Trial(5, "damage 5 is over 1", -4)
    assert answer.everything.damage == 21
    assert [layer.damage for layer in answer.layers] == [9, 5, 7]


def test_a_graph_that_isnt_finite_is_never_the_nearest():
    graph = Graph({"a": math.inf, "b": 5}, budget=1)
    assert found(graph).chosen.damage == 5


@pytest.mark.parametrize(
    ("trials", "sets", "alone"),
    [(1, ["abcd"], ""), (2, ["abcd", "ab"], ""), (4, ["abcd", "ab", "abc"], ""), (6, ["abcd", "ad", "a", "ab"], "da"),
     (7, ["abcd", "ab", "abd", "abc"], "dab"), (8, ["abcd", "ab", "abc"], "dabc"),
     (100, ["abcd", "ab", "abc"], "dabc")],
)  # fmt: skip
def test_no_more_trials_are_taken_than_are_allowed(trials, sets, alone):
    graph = Graph({"a": 1, "b": 2, "c": 3, "d": 9}, budget=6)
    answer = found(graph, trials=trials, works={"a": 12, "b": 11, "c": 10, "d": 13})
    assert graph.sets == sets
    assert sorted(graph.alone) == sorted(alone)
    assert answer.trials == len(sets) + len(alone) <= trials
    assert answer.met is (len(sets) > 1)


def test_a_graph_of_more_groups_than_trials_is_searched_too():
    """Of a hundred groups the ten that cost something save most, so that they are measured; they are left out."""
    costs = {f"g{number}": 10.0 if number < 10 else 1e-3 for number in range(100)}
    works = {name: 50 if cost == 10 else 10 for name, cost in costs.items()}
    graph = Graph(costs, budget=1)
    answer = found(graph, trials=64, works=works)
    assert answer.met
    assert answer.trials <= 64
    assert not {layer.name for layer in answer.layers if layer.quantized} & {f"g{number}" for number in range(10)}
    assert sum(layer.quantized for layer in answer.layers) > 30


def test_no_set_is_measured_twice():
    graph = Graph({name: place for place, name in enumerate(NAMES, 1)}, budget=7)
    found(graph)
    assert len(set(graph.sets)) == len(graph.sets)


def test_a_layer_tells_all_of_itself():
    layer = Layer("encoder.layer.0", nodes=3, gain=0.25, damage=0.5, quantized=True)
    assert layer.to_json() == {"name": "encoder.layer.0", "nodes": 3, "gain": 0.25, "damage": 0.5, "quantized": True}


def test_what_isnt_finite_is_null_in_json():
    assert Trial(math.inf, "x", math.nan).to_json() == {"damage": None, "violation": "x", "metric": None}
    assert Trial(0.5, "").to_json() == {"damage": 0.5, "violation": "", "metric": None}
    assert Layer("a", nodes=1, gain=1, damage=math.inf, quantized=False).to_json()["damage"] is None


@given(
    costs=st.lists(st.floats(0, 10), min_size=1, max_size=8),
    works=st.lists(st.integers(1, 100), min_size=8, max_size=8),
    budget=st.floats(0, 30),
    together=st.floats(-2, 2),
    trials=st.integers(1, 30),
)
def test_the_answer_is_inside_the_budget_if_any_trial_was(costs, works, budget, together, trials):
    graph = Graph(dict(zip(NAMES, costs, strict=False)), budget, together)
    measured = {}

    def measure(names):
        measured[names] = graph.measure(names)
        return measured[names]

    work = dict(zip(graph.costs, works, strict=False))
    answer = largest_set(groups(**work), measure=measure, damage_of=graph.damage_of, trials=trials)
    assert answer.trials == len(graph.sets) + len(graph.alone) <= trials
    assert [layer.name for layer in answer.layers] == list(graph.costs)
    chosen = frozenset(layer.name for layer in answer.layers if layer.quantized)
    inside = [names for names, trial in measured.items() if not trial.violation]
    assert answer.met is bool(inside)
    if inside:
        assert answer.chosen == measured[chosen]
        assert not answer.chosen.violation
        assert sum(work[name] for name in chosen) == max(sum(work[name] for name in names) for names in inside)
    else:
        assert not chosen
        assert answer.chosen.damage == min(trial.damage for trial in measured.values())
    assert sum(layer.gain for layer in answer.layers) == pytest.approx(1)
