"""What models do, told from their inputs and outputs, and how their answers become results.

The names are those of tritonpack's ensembles; a model made by hand that takes and gives the same works too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonpack_client.errors import InvalidInputError, UnexpectedAnswerError
from tritonpack_client.results import Answer, Entity, Label, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack_client.limits import ModelLimits, TensorSpec

    Arrays = Mapping[str, NDArray[Any]]

_PADDING = -1


@dataclass(frozen=True)
class Task:
    """One thing that models do.

    Attributes:
        verb: the client's method.
        words: what it does, for errors.
        inputs: the inputs that a model of this task may have, one of these sets.
        outputs: name and type of each output that it has.
        rank: the outputs' dimensions, rows included; ``counts`` has two.
        result: one row's result, from the outputs and the row's number.
    """

    verb: str
    words: str
    inputs: tuple[tuple[str, ...], ...]
    outputs: Mapping[str, str]
    rank: int
    result: Callable[[Arrays, int], Any]


def _embedding(outputs: Arrays, row: int) -> NDArray[Any]:
    vector: NDArray[Any] = outputs["embedding"][row]
    return vector


def _labels(outputs: Arrays, row: int) -> list[Label]:
    return [*map(Label, _texts(outputs["labels"][row]), outputs["scores"][row].tolist())]


def _entities(outputs: Arrays, row: int) -> list[Entity]:
    found = int(outputs["counts"][row, 0])
    columns = [outputs[name][row, :found] for name in ("entities", "labels", "scores", "starts", "ends")]
    return [*map(Entity, _texts(columns[0]), _texts(columns[1]), *(column.tolist() for column in columns[2:]))]


def _answers(outputs: Arrays, row: int) -> list[Answer]:
    columns = [outputs[name][row].tolist() for name in ("scores", "starts", "ends")]
    every = map(Answer, _texts(outputs["answers"][row]), *columns)
    return [answer for answer in every if answer.start != _PADDING]


def _tokens(outputs: Arrays, row: int) -> list[Token]:
    return _tokens_of(outputs["tokens"][row], outputs["token_ids"][row], outputs["scores"][row])


def _masks(outputs: Arrays, row: int) -> list[list[Token]]:
    columns = [outputs[name][row] for name in ("tokens", "token_ids", "scores")]
    return [_tokens_of(*(column[mask] for column in columns)) for mask in range(int(outputs["counts"][row, 0]))]


def _tokens_of(tokens: NDArray[Any], ids: NDArray[Any], scores: NDArray[Any]) -> list[Token]:
    return [*map(Token, _texts(tokens), ids.tolist(), scores.tolist())]


def _texts(array: NDArray[Any]) -> list[str]:
    return [item.decode("utf-8", "replace") for item in array.tolist()]


_TEXT, _PAIR, _SOUND = ("text",), ("text", "text_pair"), ("waveform",)
_SPAN = {"scores": "FP32", "starts": "INT32", "ends": "INT32"}
_WORDS = {"tokens": "BYTES", "token_ids": "INT32", "scores": "FP32"}

EMBED = Task("embed", "turns rows into vectors", (_TEXT, _SOUND), {"embedding": "FP32"}, 2, _embedding)
CLASSIFY = Task(
    "classify", "classifies rows", (_TEXT, _PAIR, _SOUND), {"labels": "BYTES", "scores": "FP32"}, 2, _labels
)
TAG = Task(
    "tag",
    "finds entities",
    (_TEXT,),
    {"entities": "BYTES", "labels": "BYTES", **_SPAN, "counts": "INT32"},
    2,
    _entities,
)
ANSWER = Task("answer", "answers questions", (("question", "context"),), {"answers": "BYTES", **_SPAN}, 2, _answers)
FILL_MASK = Task("fill_mask", "fills masks", (_TEXT,), {**_WORDS, "counts": "INT32"}, 3, _masks)
NEXT_TOKENS = Task("next_tokens", "foresees tokens", (_TEXT,), _WORDS, 2, _tokens)

# A part of what classifies: the first word on such a model is `classify`.
SCORE_PAIRS = Task("score_pairs", "scores pairs of texts", (_PAIR,), CLASSIFY.outputs, 2, _labels)

TASKS = (EMBED, CLASSIFY, TAG, ANSWER, FILL_MASK, NEXT_TOKENS)


def does(task: Task, limits: ModelLimits) -> bool:
    """Whether a model of these limits does a task."""
    inputs = tuple(spec.name for spec in limits.inputs)
    outputs = {spec.name: spec.datatype for spec in limits.outputs}
    sorts = all(spec.datatype == ("FP32" if spec.name == "waveform" else "BYTES") for spec in limits.inputs)
    known = {tuple(sorted(names)) for names in task.inputs}
    return tuple(sorted(inputs)) in known and sorts and outputs == task.outputs and limits.max_batch_size > 0


def check(task: Task, limits: ModelLimits, endpoint: str) -> None:
    """Refuse a model that doesn't do the task.

    Raises:
        InvalidInputError: says what the model does instead.
    """
    if does(task, limits):
        return
    other = next((one for one in TASKS if does(one, limits)), None)
    raise InvalidInputError(
        f"the model isn't one that {task.words}: it takes {_said(limits.inputs)} and gives {_said(limits.outputs)}; "
        f"max batch {limits.max_batch_size}",
        model=limits.model,
        endpoint=endpoint,
        hint=f"It {other.words}: `{other.verb}`" if other else "`infer` sends raw tensors to any model",
    )


def results(task: Task, outputs: Arrays, rows: int, *, model: str, endpoint: str) -> list[Any]:
    """The results of a request's rows.

    Raises:
        UnexpectedAnswerError: the outputs aren't those of so many rows: they would go to the wrong ones.
    """
    shapes = {name: outputs[name].shape if name in outputs else None for name in task.outputs}
    counted = shapes.pop("counts", (rows, 1)) == (rows, 1)
    first = next(iter(shapes.values()))
    if not counted or first is None or len(first) != task.rank or first[0] != rows or {*shapes.values()} != {first}:
        expected = ", ".join([str(rows), *["n"] * (task.rank - 1)])
        found = ", ".join(f"{name} {outputs[name].shape if name in outputs else None}" for name in task.outputs)
        raise UnexpectedAnswerError(f"outputs should be ({expected}), and are {found}", model=model, endpoint=endpoint)
    if "counts" in task.outputs and not ((outputs["counts"] >= 0) & (outputs["counts"] <= first[1])).all():
        raise UnexpectedAnswerError(f"counts aren't between 0 and {first[1]}", model=model, endpoint=endpoint)
    return [task.result(outputs, row) for row in range(rows)]


def _said(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.dims)}" for spec in specs) or "nothing"
