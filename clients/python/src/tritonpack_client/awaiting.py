"""Carries steps out with gRPC's asyncio calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from tritonpack_client.errors import InvalidInputError
from tritonpack_client.service import CLOSED, METHODS, failure_from
from tritonpack_client.steps import Pause, Send

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from tritonpack_client.options import Options
    from tritonpack_client.steps import Steps, Together

T = TypeVar("T")


class Awaiting:
    """One channel to each endpoint, opened in the event loop that uses it first.

    Args:
        options: the client's.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._credentials = options.tls.credentials() if options.tls else None
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._calls: dict[tuple[int, str], Any] = {}
        self._closed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        """Close the channels; what is in flight is cancelled."""
        self._closed.set()
        for channel in self._channels.values():
            await channel.close()

    async def run(self, steps: Steps[T]) -> T:
        """Carry steps out, and return their result."""
        outcome: Any = None
        try:
            while True:
                effect = steps.send(outcome)
                outcome = await self._perform(effect)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def ordered(
        self, parts: AsyncGenerator[Steps[T], None], concurrency: int, ahead: int
    ) -> AsyncGenerator[T, None]:
        """Carry steps out at the same time, and give their results in order; the first error cancels the rest.

        Args:
            parts: taken as they can be started; closed at the end.
            concurrency: the most at a time.
            ahead: the most that are started or finished and not given yet.
        """
        gate = asyncio.Semaphore(concurrency)
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def one(steps: Steps[T]) -> T:
            async with gate:
                try:
                    return await self.run(steps)
                except Exception as error:
                    if not broken.done():
                        broken.set_exception(error)
                    raise

        tasks: deque[asyncio.Task[T]] = deque()
        try:
            async for steps in parts:
                tasks.append(asyncio.create_task(one(steps)))
                if len(tasks) >= ahead or broken.done():
                    yield await _first(tasks, broken)
            while tasks:
                yield await _first(tasks, broken)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await parts.aclose()
            if not broken.cancel():
                # Seen: asyncio reports errors that nobody looks at.
                broken.exception()

    async def stream(self, send: Send) -> AsyncGenerator[Any, None]:
        """Send one message, and give the answers' messages as they come; a `Failure` is the last."""
        try:
            call = self._call(send, stream=True)(
                iter([send.message]), timeout=send.timeout_s, metadata=list(send.metadata)
            )
        except grpc.aio.UsageError:
            yield CLOSED
            return
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as error:
            yield failure_from(error)
        except asyncio.CancelledError:
            if not self._ended_by_close():
                raise
            yield CLOSED
        finally:
            call.cancel()

    async def _perform(self, effect: Send | Pause | Together) -> Any:
        if isinstance(effect, Send):
            try:
                return await self._call(effect)(
                    effect.message, timeout=effect.timeout_s, metadata=list(effect.metadata)
                )
            except grpc.RpcError as error:
                return failure_from(error)
            except grpc.aio.UsageError:
                return CLOSED
            except asyncio.CancelledError:
                if not self._ended_by_close():
                    raise
                return CLOSED
        if isinstance(effect, Pause):
            return await self._pause(effect.seconds)
        async with aclosing(self.ordered(each(effect.parts), effect.concurrency, len(effect.parts))) as results:
            return [result async for result in results]

    async def _pause(self, seconds: float) -> None:
        closed = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait([closed], timeout=seconds)
        finally:
            closed.cancel()

    def _ended_by_close(self) -> bool:
        """Whether a cancellation came from `close`: gRPC cancels whoever awaits a call of a closed channel."""
        # Python 3.10 doesn't know whether a task is being cancelled.
        cancelling = getattr(asyncio.current_task(), "cancelling", lambda: 0)
        return self._closed.is_set() and not cancelling()

    def _call(self, send: Send, *, stream: bool = False) -> Any:
        self._check_loop()
        key = send.endpoint, send.method
        if key not in self._calls:
            method, channel = METHODS[send.method], self._channel(send.endpoint)
            make = channel.stream_stream if stream else channel.unary_unary
            self._calls[key] = make(
                method.path, request_serializer=method.to_bytes, response_deserializer=method.from_bytes
            )
        return self._calls[key]

    def _check_loop(self) -> None:
        """Refuse another event loop, in which gRPC's calls would fail, or never end.

        Raises:
            InvalidInputError: it is another.
        """
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if loop is not self._loop:
            raise InvalidInputError(
                "the client was used in another event loop before", hint="Make an AsyncClient for each event loop"
            )

    def _channel(self, place: int) -> grpc.aio.Channel:
        if place not in self._channels:
            options = self._options
            url, arguments = options.urls[place], options.channel_arguments
            compression = options.grpc_compression
            self._channels[place] = (
                grpc.aio.insecure_channel(url, options=arguments, compression=compression)
                if self._credentials is None
                else grpc.aio.secure_channel(url, self._credentials, options=arguments, compression=compression)
            )
        return self._channels[place]


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """The items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item


async def _first(tasks: deque[asyncio.Task[T]], broken: asyncio.Future[None]) -> T:
    """The result of the first task, or the error of whichever fails before it."""
    both: list[asyncio.Future[Any]] = [tasks[0], broken]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if broken.done():
        broken.result()
    return await tasks.popleft()
