"""The client for programs that wait for each answer."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from tritonpack_client import tasks
from tritonpack_client.batching import check_rows
from tritonpack_client.blocking import Blocking
from tritonpack_client.connection import Connection
from tritonpack_client.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from tritonpack_client.limits import ModelLimits, ModelState
    from tritonpack_client.results import Answer, Entity, Label, Token
    from tritonpack_client.steps import Steps


class Client(Connection[Blocking]):
    """A connection whose calls block; safe to share between threads. `Connection` has its arguments.

        with Client("127.0.0.1:8001") as client:
            vectors = client.embed("minilm", ["how do I deploy a model", "the cat sat"])

    Every call takes ``timeout_s``, the deadline of each of its requests, where it isn't the client's. Every call may
    raise a `TritonClientError`; the classes below it say why.
    """

    def __enter__(self) -> Client:  # noqa: PYI034 (Self is in typing from Python 3.11 on)
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection, and cancel what other threads wait for; a second time does nothing."""
        self._io.run(self._calls.close())
        self._io.close()

    def is_ready(self, model: str | None = None, *, timeout_s: float | None = None) -> bool:
        """Whether the server, or one model of it, takes requests now; False if nobody answers."""
        return self._io.run(self._calls.is_ready(model, timeout_s))

    def wait_ready(self, timeout_s: float = 30.0, model: str | None = None) -> None:
        """Wait until the server, or one model of it, takes requests.

        Raises:
            ServerUnavailableError: it didn't within ``timeout_s`` seconds.
        """
        self._io.run(self._calls.wait_ready(timeout_s, model))

    def server(self, *, timeout_s: float | None = None) -> str:
        """Name and version of the server, e.g. ``triton 2.51.0``."""
        return self._io.run(self._calls.server(timeout_s))

    def models(self, *, timeout_s: float | None = None) -> list[ModelState]:
        """List the models of the server's repository, in alphabetical order, loaded or not."""
        return self._io.run(self._calls.models(timeout_s))

    def limits(self, model: str, *, timeout_s: float | None = None) -> ModelLimits:
        """Read what a model takes and gives. The answer is kept for the client's life.

        Raises:
            ModelNotFoundError: the server doesn't have the model, or hasn't loaded it.
        """
        return self._io.run(self._calls.limits(model, timeout_s))

    def embed(
        self, model: str, texts: Iterable[str] | Iterable[NDArray[Any]], *, timeout_s: float | None = None
    ) -> NDArray[np.float32]:
        """Turn texts, or sounds, into vectors.

        Any number of them: they are sent in requests of at most the model's maximum batch, rows of similar length
        together, several requests at a time.

        Args:
            model: gives ``embedding`` (rows, d) FP32.
            texts: n texts; n arrays (samples,) float32 for a model of sounds.
            timeout_s: the deadline of each request, where it isn't the client's.

        Returns:
            (n, d) float32, row i for text i; (0, d) for no texts.

        Raises:
            InputTypeError: ``texts`` is a single string, or holds something else than strings.
            InvalidInputError: a text can't be encoded, or the model doesn't embed texts.
            TritonClientError: a request failed; the others were cancelled.
        """
        return self._io.run(self._calls.embed(model, texts, timeout_s))

    def iter_embed(
        self,
        model: str,
        texts: Iterable[str],
        *,
        progress: Callable[[int], None] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Turn any number of texts into vectors, in bounded memory.

        Texts are taken as they can be sent: some hundred are held at a time, however many there are.

        Args:
            model: as in `embed`.
            texts: any iterable; it may never end.
            progress: called with the number of texts that are done, again and again.
            timeout_s: as in `embed`.

        Yields:
            (d,) float32 for each text, in order.

        Raises:
            TritonClientError: as in `embed`; vectors that were given before stay good.
        """
        check_rows(texts)
        limits = self._io.run(self._calls.task_limits(tasks.EMBED, model, timeout_s))
        windows = Windows(limits)
        done = 0
        concurrency = self.options.concurrency
        parts = self._parts(windows, limits, texts, timeout_s)
        with closing(self._io.ordered(parts, concurrency, 2 * concurrency)) as answers:
            for found in answers:
                done += len(found)
                yield from windows.results(found)
                if progress:
                    progress(done)

    def _parts(
        self, windows: Windows, limits: ModelLimits, texts: Iterable[str], timeout_s: float | None
    ) -> Iterator[Steps[list[Any]]]:
        for text in texts:
            if windows.add(text):
                for columns, batch in windows.cut():
                    yield self._calls.batch(tasks.EMBED, limits, columns, batch, timeout_s)
        for columns, batch in windows.cut():
            yield self._calls.batch(tasks.EMBED, limits, columns, batch, timeout_s)

    def classify(
        self, model: str, rows: Iterable[str] | Iterable[tuple[str, str]], *, timeout_s: float | None = None
    ) -> list[list[Label]]:
        """Say what texts are.

        Args:
            model: gives ``labels`` and ``scores``.
            rows: texts, or pairs of texts for a model that compares two.
            timeout_s: as in `embed`.

        Returns:
            For each row its labels, the best first.
        """
        return self._io.run(self._calls.task(tasks.CLASSIFY, model, rows, timeout_s))

    def score_pairs(
        self, model: str, pairs: Iterable[tuple[str, str]], *, label: str | None = None, timeout_s: float | None = None
    ) -> NDArray[np.float32]:
        """Score pairs of texts, e.g. a question and what may answer it.

        Args:
            model: takes two texts, and gives ``labels`` and ``scores``.
            pairs: n pairs.
            label: whose score, where the model gives several.
            timeout_s: as in `embed`.

        Returns:
            (n,) float32.

        Raises:
            InvalidInputError: the model gives several scores and ``label`` is none of theirs.
        """
        return self._io.run(self._calls.score_pairs(model, pairs, label, timeout_s))

    def tag(self, model: str, texts: Iterable[str], *, timeout_s: float | None = None) -> list[list[Entity]]:
        """Find entities: for each text those that it holds, in their order."""
        return self._io.run(self._calls.task(tasks.TAG, model, texts, timeout_s))

    def answer(
        self, model: str, questions: Iterable[tuple[str, str]], *, timeout_s: float | None = None
    ) -> list[list[Answer]]:
        """Find answers in texts.

        Args:
            model: takes ``question`` and ``context``.
            questions: pairs of a question and the context that may answer it.
            timeout_s: as in `embed`.

        Returns:
            For each question its answers, the best first.
        """
        return self._io.run(self._calls.task(tasks.ANSWER, model, questions, timeout_s))

    def fill_mask(self, model: str, texts: Iterable[str], *, timeout_s: float | None = None) -> list[list[list[Token]]]:
        """Say what may stand at the masks: for each text and each mask in it the tokens, the best first."""
        return self._io.run(self._calls.task(tasks.FILL_MASK, model, texts, timeout_s))

    def next_tokens(self, model: str, texts: Iterable[str], *, timeout_s: float | None = None) -> list[list[Token]]:
        """Say what may follow: for each text the tokens, the best first."""
        return self._io.run(self._calls.task(tasks.NEXT_TOKENS, model, texts, timeout_s))

    def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], *, timeout_s: float | None = None
    ) -> dict[str, NDArray[Any]]:
        """Send one request of raw tensors.

        Args:
            model: the model's name.
            inputs: by name, with the batch dimension if the model has one. Texts are arrays of ``str``, of ``bytes``
                or of objects that are either; BF16 is float32.
            timeout_s: as in `embed`.

        Returns:
            Every output by name, not writable; BYTES are object arrays of ``bytes``, BF16 is float32.

        Raises:
            InvalidInputError: a name that the model doesn't have, or an array that can't be sent.
            InvalidRequestError: the server refuses shape or batch size.
        """
        return self._io.run(self._calls.infer(model, inputs, timeout_s))

    def stream(
        self, model: str, inputs: Mapping[str, NDArray[Any]], *, timeout_s: float | None = None
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Send one request, and give its answers as they come: one of most models, any number of decoupled ones.

        An iterator that is closed, or left behind, cancels the request. It isn't tried again.

        Args:
            model: the model's name.
            inputs: as in `infer`.
            timeout_s: until the last answer.

        Yields:
            Every output by name.
        """
        streaming = self._io.run(self._calls.streamed(model, inputs, timeout_s))
        with streaming, closing(self._io.stream(streaming.send)) as answers:
            for answer in answers:
                outputs = streaming.outputs(answer)
                if outputs is not None:
                    yield outputs

    def _open(self) -> Blocking:
        return Blocking(self.options)
