"""What a model does is told from its inputs and outputs; answers become results."""

import numpy as np
import pytest

from tritonpack_client import Answer, Entity, InvalidInputError, Label, ModelLimits, TensorSpec, Token
from tritonpack_client import UnexpectedAnswerError as Unexpected
from tritonpack_client.tasks import (
    ANSWER,
    CLASSIFY,
    EMBED,
    FILL_MASK,
    NEXT_TOKENS,
    SCORE_PAIRS,
    TAG,
    TASKS,
    check,
    does,
    results,
)


def limits(task, names=None, *, without=(), extra=(), batch=4):
    names = task.inputs[0] if names is None else names
    inputs = [TensorSpec(name, "FP32" if name == "waveform" else "BYTES", (1,)) for name in names]
    outputs = [TensorSpec(name, kind, (-1,)) for name, kind in task.outputs.items() if name not in without]
    return ModelLimits("m", batch, tuple(inputs), (*outputs, *(TensorSpec(name, "FP32", (1,)) for name in extra)))


EVERY = {f"{task.verb} {'+'.join(names)}": (task, names) for task in TASKS for names in task.inputs}


@pytest.mark.parametrize(("task", "names"), EVERY.values(), ids=EVERY)
def test_a_model_does_one_task(task, names):
    assert [one.verb for one in TASKS if does(one, limits(task, names))] == [task.verb]
    assert does(task, limits(task, tuple(reversed(names))))
    check(task, limits(task, names), "host:1")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.verb)
def test_a_model_that_differs_does_not_do_it(task):
    first = next(iter(task.outputs))
    for other in (
        limits(task, batch=0),
        limits(task, without=[first]),
        limits(task, extra=["more"]),
        limits(task, ("other",)),
        limits(task, ()),
    ):
        assert not does(task, other)
    wrong = limits(task)
    first = TensorSpec(wrong.inputs[0].name, "INT32", (1,))
    assert not does(task, ModelLimits("m", 4, (first, *wrong.inputs[1:]), wrong.outputs))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.verb)
def test_the_wrong_task_is_told_the_right_one(task):
    for other in TASKS:
        if other is not task:
            with pytest.raises(InvalidInputError, match=f"isn't one that {other.words}") as caught:
                check(other, limits(task), "host:1")
            assert caught.value.hint == f"It {task.words}: `{task.verb}`"
            assert (caught.value.model, caught.value.endpoint) == ("m", "host:1")


def test_pairs_are_not_scored_by_a_model_of_one_text():
    check(SCORE_PAIRS, limits(CLASSIFY, ("text", "text_pair")), "")
    with pytest.raises(InvalidInputError, match=r"isn't one that scores pairs.*It classifies rows: `classify`"):
        check(SCORE_PAIRS, limits(CLASSIFY), "")


def test_a_model_of_no_task_is_told_of_infer():
    with pytest.raises(InvalidInputError, match=r"takes nothing and gives embedding FP32 .*`infer` sends raw tensors"):
        check(EMBED, limits(EMBED, ()), "")


def outputs(task, **rows):
    kinds = {"FP32": np.float32, "INT32": np.int32, "BYTES": object}
    return {name: np.array(rows[name], kinds[kind]) for name, kind in task.outputs.items()}


def found(task, rows, given):
    return results(task, given, rows, model="m", endpoint="h:1")


def test_vectors():
    given = outputs(EMBED, embedding=[[1, 2], [3, 4]])
    assert [row.tolist() for row in found(EMBED, 2, given)] == [[1, 2], [3, 4]]


def test_labels():
    given = outputs(CLASSIFY, labels=[[b"yes", b"no"], [b"n\xc3\xa9", b"\xff"]], scores=[[0.75, 0.25], [1, 0]])
    assert found(CLASSIFY, 2, given) == [
        [Label("yes", 0.75), Label("no", 0.25)],
        [Label("né", 1.0), Label("\N{REPLACEMENT CHARACTER}", 0.0)],
    ]
    assert isinstance(found(CLASSIFY, 2, given)[0][0].score, float)


def tagged(counts=((2,), (0,), (1,))):
    return outputs(
        TAG,
        entities=[[b"Ada", b"Bob"], [b"", b""], [b"7", b""]],
        labels=[[b"PER", b"PER"], [b"", b""], [b"NUM", b""]],
        scores=[[0.5, 0.25], [0, 0], [1, 0]],
        starts=[[0, 4], [0, 0], [2, 0]],
        ends=[[3, 7], [0, 0], [3, 0]],
        counts=counts,
    )


def test_entities_are_as_many_as_the_count_says():
    assert found(TAG, 3, tagged()) == [
        [Entity("Ada", "PER", 0.5, 0, 3), Entity("Bob", "PER", 0.25, 4, 7)],
        [],
        [Entity("7", "NUM", 1.0, 2, 3)],
    ]


def test_entities_of_a_request_without_any():
    given = outputs(TAG, counts=[[0]], **{name: np.empty((1, 0)) for name in TAG.outputs if name != "counts"})
    assert found(TAG, 1, given) == [[]]


def test_answers_without_their_fillers():
    given = outputs(
        ANSWER,
        answers=[[b"one", b""], [b"", b""]],
        scores=[[0.5, 0], [0.25, 0]],
        starts=[[1, -1], [0, -1]],
        ends=[[4, -1], [0, -1]],
    )
    # An empty answer at 0, 0 says that the context has none: that is an answer.
    assert found(ANSWER, 2, given) == [[Answer("one", 0.5, 1, 4)], [Answer("", 0.25, 0, 0)]]


def test_masks_are_as_many_as_the_count_says():
    given = outputs(
        FILL_MASK,
        tokens=[[[b"a", b"b"], [b"c", b"d"]], [[b"e", b"f"], [b"", b""]]],
        token_ids=[[[1, 2], [3, 4]], [[5, 6], [0, 0]]],
        scores=[[[0.5, 0.25], [1, 0]], [[1, 0], [0, 0]]],
        counts=[[2], [1]],
    )
    assert found(FILL_MASK, 2, given) == [
        [[Token("a", 1, 0.5), Token("b", 2, 0.25)], [Token("c", 3, 1.0), Token("d", 4, 0.0)]],
        [[Token("e", 5, 1.0), Token("f", 6, 0.0)]],
    ]


def test_tokens():
    given = outputs(NEXT_TOKENS, tokens=[[b" a", b"b"]], token_ids=[[1, 2]], scores=[[0.5, 0.25]])
    assert found(NEXT_TOKENS, 1, given) == [[Token(" a", 1, 0.5), Token("b", 2, 0.25)]]


@pytest.mark.parametrize("shape", [(3, 2), (1, 2), (2,), (2, 2, 1), ()])
def test_rows_that_are_not_those_of_the_request(shape):
    with pytest.raises(Unexpected, match=r"outputs should be \(2, n\), and are embedding .*\(model 'm' at h:1\)"):
        found(EMBED, 2, {"embedding": np.zeros(shape, np.float32)})


def test_an_output_that_is_missing():
    with pytest.raises(Unexpected, match=r"labels None, scores \(1, 1\)"):
        found(CLASSIFY, 1, {"scores": np.zeros((1, 1), np.float32)})
    given = tagged()
    del given["counts"]
    with pytest.raises(Unexpected, match="counts None"):
        found(TAG, 3, given)


def test_outputs_that_differ_in_width():
    given = outputs(CLASSIFY, labels=[[b"a", b"b"]], scores=[[1.0]])
    with pytest.raises(Unexpected, match=r"labels \(1, 2\), scores \(1, 1\)"):
        found(CLASSIFY, 1, given)


@pytest.mark.parametrize("counts", [[[3], [0], [0]], [[-1], [0], [0]], [[1, 1], [1, 1], [1, 1]], [2, 0, 1]])
def test_counts_that_cannot_be(counts):
    with pytest.raises(Unexpected, match="counts"):
        found(TAG, 3, tagged(counts))
