"""The client that applications use."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack_client.batching import encode_texts, plan_batches, rows_in_order, text_tensor
from tritonpack_client.errors import (
    DeadlineExceededError,
    InputTypeError,
    InvalidInputError,
    ServerUnavailableError,
    UnexpectedAnswerError,
)
from tritonpack_client.limits import ModelLimits, ModelState, embedding_width, limits_from_config
from tritonpack_client.transport import Transport, input_from_array, inputs_from_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

_PROBE_TIMEOUT_S = 2.0
_POLL_INTERVAL_S = 0.1


class Client:
    """A connection to one Triton server over gRPC; safe to share between threads.

        with Client("127.0.0.1:8001") as client:
            vectors = client.embed("minilm", ["how do I deploy a model", "the cat sat"])

    Args:
        url: ``host:port`` of the server's gRPC endpoint, without a scheme.
        timeout_s: the deadline of each request, in seconds; a call that sends several requests (``embed``
            of many texts) gives each of them this time.
        concurrency: the most requests that one call has in flight.

    Raises:
        InvalidInputError: an argument makes no sense.
    """

    def __init__(self, url: str = "127.0.0.1:8001", *, timeout_s: float = 30.0, concurrency: int = 8) -> None:
        if "://" in url or ":" not in url:
            raise InvalidInputError(f"url {url!r} isn't host:port", hint="Example: 127.0.0.1:8001")
        if timeout_s <= 0 or concurrency < 1:
            raise InvalidInputError(
                f"timeout_s must be above 0 and concurrency at least 1; got {timeout_s} and {concurrency}"
            )
        self.url = url
        self.timeout_s = timeout_s
        self.concurrency = concurrency
        self._transport = Transport(url)
        self._limits: dict[str, ModelLimits] = {}

    def __enter__(self) -> Client:  # noqa: PYI034 (Self is in typing from Python 3.11 on)
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        self._transport.close()

    def is_ready(self, model: str | None = None) -> bool:
        """Whether the server, or one model of it, takes requests now; False if nobody answers.

        Raises:
            TritonClientError: the server answered with something else than yes or no.
        """
        method, arguments = ("is_model_ready", [model]) if model else ("is_server_ready", [])
        timeout_s = min(self.timeout_s, _PROBE_TIMEOUT_S)
        try:
            return bool(self._transport.call(method, *arguments, timeout_s=timeout_s, model=model or ""))
        except (ServerUnavailableError, DeadlineExceededError):
            return False

    def wait_ready(self, timeout_s: float = 30.0, model: str | None = None) -> None:
        """Wait until the server, or one model of it, takes requests.

        Raises:
            ServerUnavailableError: it didn't within ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while not self.is_ready(model):
            if time.monotonic() >= deadline:
                raise ServerUnavailableError(
                    f"not ready after {timeout_s:g} s",
                    model=model or "",
                    endpoint=self.url,
                    hint="`tritonpack status` shows the servers on this machine and their models",
                )
            time.sleep(_POLL_INTERVAL_S)

    def server(self) -> str:
        """Name and version of the server, e.g. ``triton 2.51.0``.

        Raises:
            TritonClientError: the server didn't answer.
        """
        answer = self._transport.call("get_server_metadata", timeout_s=self.timeout_s)
        return f"{answer.name} {answer.version}"

    def models(self) -> list[ModelState]:
        """List the models of the server's repository, in alphabetical order, loaded or not.

        Raises:
            TritonClientError: the server didn't answer.
        """
        index = self._transport.call("get_model_repository_index", timeout_s=self.timeout_s)
        states = [ModelState(entry.name, entry.version, entry.state, entry.reason) for entry in index.models]
        return sorted(states, key=lambda state: (state.name, state.version))

    def limits(self, model: str) -> ModelLimits:
        """Read what a model takes and gives. The answer is kept for the client's life.

        Raises:
            ModelNotFoundError: the server doesn't have the model, or hasn't loaded it.
            TritonClientError: the server didn't answer.
        """
        if model not in self._limits:
            answer = self._transport.call("get_model_config", model, timeout_s=self.timeout_s, model=model)
            self._limits[model] = limits_from_config(answer.config)
        return self._limits[model]

    def embed(self, model: str, texts: Iterable[str]) -> NDArray[np.float32]:
        """Turn texts into vectors.

        Any number of texts: they are sent in requests of at most the model's maximum batch, texts of
        similar length together, several requests at a time.

        Args:
            model: an ensemble with input ``text`` (batch, 1) BYTES and output ``embedding`` (batch, d) FP32.
            texts: n texts.

        Returns:
            (n, d) float32, row i for text i; (0, d) for no texts.

        Raises:
            InputTypeError: ``texts`` is a single string, or holds something else than strings.
            InvalidInputError: a text can't be encoded, or the model doesn't embed texts.
            ModelNotFoundError: the server doesn't have the model.
            TritonClientError: a request failed; the others were cancelled.
        """
        encoded = encode_texts(texts)
        limits = self.limits(model)
        width = embedding_width(limits, endpoint=self.url)
        batches = plan_batches([len(text) for text in encoded], limits.max_batch_size)
        answers = self._transport.infer_many(
            model,
            [partial(_text_inputs, encoded, batch) for batch in batches],
            ["embedding"],
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
        )
        rows = [self._checked(answer, len(batch), model) for answer, batch in zip(answers, batches, strict=True)]
        return rows_in_order(batches, rows, len(encoded), width)

    def infer(self, model: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Send one request of raw tensors.

        Args:
            model: the model's name.
            inputs: by name, with the batch dimension if the model has one. Texts are arrays of ``str``, of
                ``bytes`` or of objects that are either.

        Returns:
            Every output by name; BYTES come as object arrays of ``bytes``.

        Raises:
            InvalidInputError: a name that the model doesn't have, or an array that can't be sent.
            InvalidRequestError: the server refuses shape, type or batch size.
            TritonClientError: the request failed.
        """
        limits = self.limits(model)
        self._check_names(limits, inputs)
        make_inputs = partial(inputs_from_arrays, inputs)
        outputs = [spec.name for spec in limits.outputs]
        return self._transport.infer_many(model, [make_inputs], outputs, concurrency=1, timeout_s=self.timeout_s)[0]

    def _check_names(self, limits: ModelLimits, inputs: Mapping[str, NDArray[Any]]) -> None:
        names = [spec.name for spec in limits.inputs]
        if unknown := sorted(set(inputs) - set(names)):
            raise InvalidInputError(
                f"no input named {', '.join(map(repr, unknown))}; the inputs are {', '.join(names)}",
                model=limits.model,
                endpoint=self.url,
            )
        for name, array in inputs.items():
            if not isinstance(array, np.ndarray):
                raise InputTypeError(f"input {name!r} is {type(array).__name__}, not a NumPy array", model=limits.model)

    def _checked(self, answer: dict[str, NDArray[Any]], rows: int, model: str) -> NDArray[np.float32]:
        """Refuse an answer that isn't (rows, d): rows would go to the wrong texts."""
        embedding = answer.get("embedding")
        if embedding is None or embedding.ndim != 2 or len(embedding) != rows:  # noqa: PLR2004
            shape = None if embedding is None else embedding.shape
            raise UnexpectedAnswerError(
                f"embedding should be ({rows}, d), and is {shape}", model=model, endpoint=self.url
            )
        return embedding.astype(np.float32, copy=False)


def _text_inputs(encoded: Sequence[bytes], batch: Sequence[int]) -> list[Any]:
    return [input_from_array("text", text_tensor([encoded[index] for index in batch]))]
