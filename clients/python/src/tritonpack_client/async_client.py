"""The client for asyncio programs."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from tritonpack_client import tasks
from tritonpack_client.awaiting import Awaiting, each
from tritonpack_client.batching import check_rows
from tritonpack_client.connection import Connection
from tritonpack_client.windows import Windows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from tritonpack_client.limits import ModelLimits, ModelState
    from tritonpack_client.results import Answer, Entity, Label, Token
    from tritonpack_client.steps import Steps


class AsyncClient(Connection[Awaiting]):
    """A connection whose calls are awaited, all in one event loop. `Connection` has its arguments.

        async with AsyncClient("127.0.0.1:8001") as client:
            vectors = await client.embed("minilm", ["how do I deploy a model", "the cat sat"])

    Its methods take, give and raise what those of `Client` do. A call that is cancelled cancels its requests on the
    server.
    """

    async def __aenter__(self) -> AsyncClient:  # noqa: PYI034 (Self is in typing from Python 3.11 on)
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection, and cancel what other tasks wait for; a second time does nothing."""
        await self._io.run(self._calls.close())
        await self._io.close()

    async def is_ready(self, model: str | None = None, *, timeout_s: float | None = None) -> bool:
        """As `Client.is_ready`."""
        return await self._io.run(self._calls.is_ready(model, timeout_s))

    async def wait_ready(self, timeout_s: float = 30.0, model: str | None = None) -> None:
        """As `Client.wait_ready`."""
        await self._io.run(self._calls.wait_ready(timeout_s, model))

    async def server(self, *, timeout_s: float | None = None) -> str:
        """As `Client.server`."""
        return await self._io.run(self._calls.server(timeout_s))

    async def models(self, *, timeout_s: float | None = None) -> list[ModelState]:
        """As `Client.models`."""
        return await self._io.run(self._calls.models(timeout_s))

    async def limits(self, model: str, *, timeout_s: float | None = None) -> ModelLimits:
        """As `Client.limits`."""
        return await self._io.run(self._calls.limits(model, timeout_s))

    async def embed(
        self, model: str, texts: Iterable[str] | Iterable[NDArray[Any]], *, timeout_s: float | None = None
    ) -> NDArray[np.float32]:
        """As `Client.embed`: (n, d) float32."""
        return await self._io.run(self._calls.embed(model, texts, timeout_s))

    async def iter_embed(
        self,
        model: str,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        progress: Callable[[int], None] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[NDArray[np.float32]]:
        """As `Client.iter_embed`; ``texts`` may be an asynchronous iterable.

        Yields:
            (d,) float32 for each text, in order.
        """
        check_rows(texts)
        limits = await self._io.run(self._calls.task_limits(tasks.EMBED, model, timeout_s))
        windows = Windows(limits)
        done = 0
        concurrency = self.options.concurrency
        parts = self._parts(windows, limits, texts, timeout_s)
        # A generator that is left inside another one is closed some time later, and so are its requests.
        async with aclosing(self._io.ordered(parts, concurrency, 2 * concurrency)) as answers:
            async for found in answers:
                done += len(found)
                for vector in windows.results(found):
                    yield vector
                if progress:
                    progress(done)

    async def _parts(
        self,
        windows: Windows,
        limits: ModelLimits,
        texts: Iterable[str] | AsyncIterable[str],
        timeout_s: float | None,
    ) -> AsyncGenerator[Steps[list[Any]], None]:
        async with aclosing(each(texts)) as rows:
            async for text in rows:
                if windows.add(text):
                    for columns, batch in windows.cut():
                        yield self._calls.batch(tasks.EMBED, limits, columns, batch, timeout_s)
        for columns, batch in windows.cut():
            yield self._calls.batch(tasks.EMBED, limits, columns, batch, timeout_s)

    async def classify(
        self, model: str, rows: Iterable[str] | Iterable[tuple[str, str]], *, timeout_s: float | None = None
    ) -> list[list[Label]]:
        """As `Client.classify`."""
        return await self._io.run(self._calls.task(tasks.CLASSIFY, model, rows, timeout_s))

    async def score_pairs(
        self, model: str, pairs: Iterable[tuple[str, str]], *, label: str | None = None, timeout_s: float | None = None
    ) -> NDArray[np.float32]:
        """As `Client.score_pairs`: (n,) float32."""
        return await self._io.run(self._calls.score_pairs(model, pairs, label, timeout_s))

    async def tag(self, model: str, texts: Iterable[str], *, timeout_s: float | None = None) -> list[list[Entity]]:
        """As `Client.tag`."""
        return await self._io.run(self._calls.task(tasks.TAG, model, texts, timeout_s))

    async def answer(
        self, model: str, questions: Iterable[tuple[str, str]], *, timeout_s: float | None = None
    ) -> list[list[Answer]]:
        """As `Client.answer`."""
        return await self._io.run(self._calls.task(tasks.ANSWER, model, questions, timeout_s))

    async def fill_mask(
        self, model: str, texts: Iterable[str], *, timeout_s: float | None = None
    ) -> list[list[list[Token]]]:
        """As `Client.fill_mask`."""
        return await self._io.run(self._calls.task(tasks.FILL_MASK, model, texts, timeout_s))

    async def next_tokens(
        self, model: str, texts: Iterable[str], *, timeout_s: float | None = None
    ) -> list[list[Token]]:
        """As `Client.next_tokens`."""
        return await self._io.run(self._calls.task(tasks.NEXT_TOKENS, model, texts, timeout_s))

    async def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], *, timeout_s: float | None = None
    ) -> dict[str, NDArray[Any]]:
        """As `Client.infer`."""
        return await self._io.run(self._calls.infer(model, inputs, timeout_s))

    async def stream(
        self, model: str, inputs: Mapping[str, NDArray[Any]], *, timeout_s: float | None = None
    ) -> AsyncIterator[dict[str, NDArray[Any]]]:
        """As `Client.stream`.

        Yields:
            Every output by name.
        """
        streaming = await self._io.run(self._calls.streamed(model, inputs, timeout_s))
        with streaming:
            async with aclosing(self._io.stream(streaming.send)) as answers:
                async for answer in answers:
                    outputs = streaming.outputs(answer)
                    if outputs is not None:
                        yield outputs

    def _open(self) -> Awaiting:
        return Awaiting(self.options)
