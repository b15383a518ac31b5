"""Every call of a client as steps: what is sent and what becomes of the answers, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tritonclient.grpc import service_pb2

from tritonpack_client.batching import (
    Columns,
    batches_of_columns,
    columns_from_rows,
    contents_from_rows,
    count_rows,
    in_order,
)
from tritonpack_client.errors import (
    DeadlineExceededError,
    InputTypeError,
    InvalidInputError,
    ServerUnavailableError,
    UnexpectedAnswerError,
)
from tritonpack_client.limits import ModelLimits, ModelState, limits_from_config
from tritonpack_client.options import checked_timeout_s
from tritonpack_client.sharing import Sharing
from tritonpack_client.steps import Pause, Together
from tritonpack_client.tasks import EMBED, SCORE_PAIRS, Task, check, results
from tritonpack_client.tensors import (
    arrays_from_message,
    contents_from_arrays,
    encode_text,
    message_from_arrays,
    message_from_contents,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack_client.course import Course
    from tritonpack_client.options import Options
    from tritonpack_client.results import Label
    from tritonpack_client.steps import Steps
    from tritonpack_client.streaming import Streaming
    from tritonpack_client.tensors import Content

_PROBE_TIMEOUT_S = 2.0
_POLL_INTERVAL_S = 0.1


def checked_name(model: str) -> str:
    """A model's name that can be sent.

    Raises:
        InputTypeError: it's no text.
        InvalidInputError: it's empty, or holds a lone surrogate.
    """
    if not isinstance(model, str):
        raise InputTypeError(f"the model's name is {type(model).__name__}, not str")
    encode_text("model", 0, model)
    if not model:
        raise InvalidInputError("the model's name is empty", hint="`Client.models()` lists what the server has")
    return model


class Calls:
    """The calls of one client.

    Args:
        options: the client's.
        course: makes its requests.
    """

    def __init__(self, options: Options, course: Course) -> None:
        self._options = options
        self._course = course
        self._sharing = Sharing(options, course) if options.shared_memory else None
        self._limits: dict[str, ModelLimits] = {}
        self._checked: set[tuple[str, str]] = set()
        self._endpoint = ", ".join(options.urls)

    def deadline_s(self, timeout_s: float | None) -> float:
        """The deadline of a request.

        Raises:
            InvalidInputError: it isn't above 0.
        """
        return checked_timeout_s(self._options.timeout_s if timeout_s is None else timeout_s)

    def is_ready(self, model: str | None, timeout_s: float | None = None) -> Steps[bool]:
        """Whether somebody takes requests; False if nobody answers. Each endpoint is asked, until one does."""
        attempts = len(self._options.urls)
        timeout_s = self.deadline_s(min(self._options.timeout_s, _PROBE_TIMEOUT_S) if timeout_s is None else timeout_s)
        if model is None:
            request = self._course.request(
                "ServerReady", service_pb2.ServerReadyRequest(), timeout_s=timeout_s, attempts=attempts
            )
        else:
            message = service_pb2.ModelReadyRequest(name=checked_name(model))
            request = self._course.request("ModelReady", message, model=model, timeout_s=timeout_s, attempts=attempts)
        try:
            answer = yield from request
        except (ServerUnavailableError, DeadlineExceededError):
            return False
        return bool(answer.ready)

    def wait_ready(self, timeout_s: float, model: str | None) -> Steps[None]:
        """Ask again and again, once at least."""
        clock = self._course.clock
        deadline = clock() + timeout_s
        longest_s = min(self._options.timeout_s, _PROBE_TIMEOUT_S)
        while not (yield from self.is_ready(model, min(longest_s, max(deadline - clock(), _POLL_INTERVAL_S)))):
            if clock() >= deadline:
                raise ServerUnavailableError(
                    f"not ready after {timeout_s:g} s",
                    model=model or "",
                    endpoint=self._endpoint,
                    hint="`tritonpack status` shows the servers on this machine and their models",
                )
            yield Pause(_POLL_INTERVAL_S)

    def server(self, timeout_s: float | None) -> Steps[str]:
        """Name and version of the server."""
        message = service_pb2.ServerMetadataRequest()
        answer = yield from self._course.request("ServerMetadata", message, timeout_s=self.deadline_s(timeout_s))
        return f"{answer.name} {answer.version}"

    def models(self, timeout_s: float | None) -> Steps[list[ModelState]]:
        """The models of the server's repository."""
        message = service_pb2.RepositoryIndexRequest()
        index = yield from self._course.request("RepositoryIndex", message, timeout_s=self.deadline_s(timeout_s))
        states = [ModelState(entry.name, entry.version, entry.state, entry.reason) for entry in index.models]
        return sorted(states, key=lambda state: (state.name, state.version))

    def limits(self, model: str, timeout_s: float | None = None) -> Steps[ModelLimits]:
        """What a model takes and gives, asked for once."""
        if model not in self._limits:
            message = service_pb2.ModelConfigRequest(name=checked_name(model))
            answer = yield from self._course.request(
                "ModelConfig", message, model=model, timeout_s=self.deadline_s(timeout_s)
            )
            self._limits[model] = limits_from_config(answer.config)
        return self._limits[model]

    def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], timeout_s: float | None
    ) -> Steps[dict[str, NDArray[Any]]]:
        """One request of raw tensors."""
        limits = yield from self.limits(model, timeout_s)
        contents = contents_from_arrays(limits, inputs, endpoint=self._endpoint)
        return (yield from self._infer(limits, contents, self.deadline_s(timeout_s)))

    def streamed(self, model: str, inputs: Mapping[str, NDArray[Any]], timeout_s: float | None) -> Steps[Streaming]:
        """A stream, which isn't open yet."""
        limits = yield from self.limits(model, timeout_s)
        message = message_from_arrays(limits, inputs, endpoint=self._endpoint)
        return self._course.stream(message, model, self.deadline_s(timeout_s))

    def task(self, task: Task, model: str, rows: Iterable[object], timeout_s: float | None) -> Steps[list[Any]]:
        """The results of rows, in their order, from as many requests as it takes."""
        limits = yield from self.task_limits(task, model, timeout_s)
        return (yield from self.results(task, limits, columns_from_rows(limits, rows), timeout_s))

    def task_limits(self, task: Task, model: str, timeout_s: float | None) -> Steps[ModelLimits]:
        """The limits of a model that does a task."""
        limits = yield from self.limits(model, timeout_s)
        if (task.verb, model) not in self._checked:
            check(task, limits, self._endpoint)
            self._checked.add((task.verb, model))
        return limits

    def results(self, task: Task, limits: ModelLimits, columns: Columns, timeout_s: float | None) -> Steps[list[Any]]:
        """The results of rows that are ready to be sent, in their order."""
        if count_rows(columns) == 1:
            return (yield from self.batch(task, limits, columns, (0,), timeout_s))
        batches = batches_of_columns(columns, limits.max_batch_size)
        parts = [self.batch(task, limits, columns, batch, timeout_s) for batch in batches]
        if len(parts) == 1:
            found = [(yield from parts[0])]
        else:
            found = yield Together(parts, self._options.concurrency)
        return in_order(batches, found)

    def batch(
        self, task: Task, limits: ModelLimits, columns: Columns, batch: Sequence[int], timeout_s: float | None
    ) -> Steps[list[Any]]:
        """The results of one request's rows. It is made when it is sent, so that only those in flight take memory."""
        contents = contents_from_rows(limits, columns, batch)
        outputs = yield from self._infer(limits, contents, self.deadline_s(timeout_s))
        return results(task, outputs, len(batch), model=limits.model, endpoint=self._endpoint)

    def embed(self, model: str, rows: Iterable[object], timeout_s: float | None) -> Steps[NDArray[np.float32]]:
        """The vectors of rows, as one array."""
        limits = yield from self.task_limits(EMBED, model, timeout_s)
        columns = columns_from_rows(limits, rows)
        if count_rows(columns):
            vectors = yield from self.results(EMBED, limits, columns, timeout_s)
            try:
                # Ten times as fast as np.stack, and refuses rows of unequal lengths too.
                return np.array(vectors)
            except ValueError as error:
                raise UnexpectedAnswerError(
                    "the model's vectors differ in length", model=model, endpoint=self._endpoint
                ) from error
        return np.empty((0, max(limits.outputs[0].dims[-1], 0)), np.float32)

    def score_pairs(
        self, model: str, pairs: Iterable[tuple[str, str]], label: str | None, timeout_s: float | None
    ) -> Steps[NDArray[np.float32]]:
        """One score a pair."""
        found: list[list[Label]] = yield from self.task(SCORE_PAIRS, model, pairs, timeout_s)
        return np.array([self._score(model, labels, label) for labels in found], np.float32)

    def _score(self, model: str, labels: Sequence[Label], label: str | None) -> float:
        """The score of a pair: of the label that was asked for, or the only one."""
        names = sorted(each.label for each in labels)
        if label is None and len(labels) != 1:
            raise InvalidInputError(
                f"the model gives {len(labels)} scores a pair: {', '.join(names)}",
                model=model,
                endpoint=self._endpoint,
                hint="Say which one is wanted: label=...",
            )
        for each in labels:
            if label in {None, each.label}:
                return each.score
        raise InvalidInputError(
            f"no label {label!r}; the model answered {', '.join(names)}", model=model, endpoint=self._endpoint
        )

    def _infer(
        self, limits: ModelLimits, contents: Sequence[Content], timeout_s: float
    ) -> Steps[dict[str, NDArray[Any]]]:
        # What a model remembers of a request it must not see twice.
        attempts = 1 if limits.stateful else None
        if self._sharing is not None:
            return (yield from self._sharing.infer(limits, contents, timeout_s, attempts))
        answer = yield from self._course.request(
            "ModelInfer",
            message_from_contents(limits, contents),
            model=limits.model,
            timeout_s=timeout_s,
            attempts=attempts,
        )
        return arrays_from_message(answer, model=limits.model, endpoint=self._endpoint)

    def close(self) -> Steps[None]:
        """What is to be said to the server before the connection is closed."""
        self._course.closed = True
        if self._sharing is not None:
            yield from self._sharing.close()
