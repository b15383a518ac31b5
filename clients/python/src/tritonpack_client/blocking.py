"""Carries steps out with gRPC's blocking calls. Many requests are in flight from one thread, the caller's."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from tritonpack_client.service import CLOSED, METHODS, failure_from
from tritonpack_client.steps import Failure, Pause, Send, Together

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tritonpack_client.options import Options
    from tritonpack_client.steps import Steps

T = TypeVar("T")


class Blocking:
    """One channel to each endpoint; safe to share between threads.

    Args:
        options: the client's.
    """

    def __init__(self, options: Options) -> None:
        self._channels = [_channel(url, options) for url in options.urls]
        self._calls: dict[tuple[int, str], Any] = {}
        self._closed = threading.Event()

    def close(self) -> None:
        """Close the channels; what is in flight is cancelled."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    def run(self, steps: Steps[T]) -> T:
        """Carry steps out, and return their result."""
        outcome: Any = None
        try:
            while True:
                effect = steps.send(outcome)
                outcome = self._perform(effect)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def ordered(self, parts: Iterator[Steps[T]], concurrency: int, ahead: int) -> Generator[T, None, None]:
        """Carry steps out at the same time, and give their results in order; the first error cancels the rest.

        Args:
            parts: taken as they can be started. They don't hold `Together`.
            concurrency: the most at a time.
            ahead: the most that are started or finished and not given yet.
        """
        several = _Several(self)
        given = started = 0
        try:
            while True:
                while several.active < concurrency and started - given < ahead:
                    steps = next(parts, None)
                    if steps is None:
                        break
                    several.start(started, steps)
                    started += 1
                if given in several.results:
                    yield several.results.pop(given)
                    given += 1
                elif given == started:
                    return
                else:
                    several.wait()
        finally:
            several.cancel()

    def stream(self, send: Send) -> Generator[Any, None, None]:
        """Send one message, and give the answers' messages as they come; a `Failure` is the last."""
        try:
            call = self._call(send, stream=True)(
                iter([send.message]), timeout=send.timeout_s, metadata=list(send.metadata)
            )
        except ValueError as error:
            yield self._closed_failure(error)
            return
        try:
            yield from call
        except grpc.RpcError as error:
            yield failure_from(error)
        finally:
            call.cancel()

    def future(self, send: Send) -> Any:
        """Send a message; gRPC's future of the answer, or a `Failure`."""
        try:
            return self._call(send).future(send.message, timeout=send.timeout_s, metadata=list(send.metadata))
        except ValueError as error:
            return self._closed_failure(error)

    def pause(self, seconds: float) -> None:
        """Wait; `close` ends it."""
        self._closed.wait(seconds)

    def _closed_failure(self, error: ValueError) -> Failure:
        """What gRPC's error means: it has the same for a channel that another thread closed and for other things."""
        if not self._closed.is_set():
            raise error
        return CLOSED

    def _perform(self, effect: Send | Pause | Together) -> Any:
        if isinstance(effect, Send):
            try:
                return self._call(effect)(effect.message, timeout=effect.timeout_s, metadata=list(effect.metadata))
            except grpc.RpcError as error:
                return failure_from(error)
            except ValueError as error:
                return self._closed_failure(error)
        if isinstance(effect, Pause):
            return self.pause(effect.seconds)
        return [*self.ordered(iter(effect.parts), effect.concurrency, len(effect.parts))]

    def _call(self, send: Send, *, stream: bool = False) -> Any:
        key = send.endpoint, send.method
        if key not in self._calls:
            method, channel = METHODS[send.method], self._channels[send.endpoint]
            make = channel.stream_stream if stream else channel.unary_unary
            self._calls[key] = make(
                method.path, request_serializer=method.to_bytes, response_deserializer=method.from_bytes
            )
        return self._calls[key]


class _Several:
    """Steps of several requests, each carried on when its answer comes.

    Attributes:
        active: how many aren't finished.
        results: of those that are, by number.
    """

    def __init__(self, driver: Blocking) -> None:
        self._driver = driver
        self.active = 0
        self.results: dict[int, Any] = {}
        self._steps: dict[int, Steps[Any]] = {}
        self._futures: dict[int, Any] = {}
        self._pauses: list[tuple[float, int]] = []
        self._answered: queue.SimpleQueue[int] = queue.SimpleQueue()

    def start(self, number: int, steps: Steps[Any]) -> None:
        """Begin."""
        self._steps[number] = steps
        self.active += 1
        self._go_on(number, None)

    def wait(self) -> None:
        """Wait until one of them can go on, and let it."""
        left_s = max(0.0, self._pauses[0][0] - time.monotonic()) if self._pauses else None
        number = self._answered_within(left_s)
        if number is None:
            self._go_on(heapq.heappop(self._pauses)[1], None)
        else:
            self._go_on(number, _outcome(self._futures.pop(number)))

    def _answered_within(self, timeout_s: float | None) -> int | None:
        if timeout_s is not None and not self._futures:
            # Nothing can be answered, so that nothing but the driver hears of `close`.
            self._driver.pause(timeout_s)
            return None
        try:
            return self._answered.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def cancel(self) -> None:
        """Give up those that aren't finished."""
        for future in self._futures.values():
            future.cancel()
        for steps in self._steps.values():
            steps.close()

    def _go_on(self, number: int, outcome: Any) -> None:
        steps = self._steps[number]
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                self.results[number] = end.value
                del self._steps[number]
                self.active -= 1
                return
            if isinstance(effect, Pause):
                heapq.heappush(self._pauses, (time.monotonic() + effect.seconds, number))
                return
            if isinstance(effect, Together):
                raise TypeError("steps that run together don't hold others that do")
            outcome = self._driver.future(effect)
            if not isinstance(outcome, Failure):
                self._futures[number] = outcome
                outcome.add_done_callback(lambda _: self._answered.put(number))
                return


def _outcome(future: Any) -> Any:
    try:
        return future.result()
    except grpc.FutureCancelledError:
        return CLOSED
    except grpc.RpcError as error:
        return failure_from(error)


def _channel(url: str, options: Options) -> grpc.Channel:
    arguments, compression = options.channel_arguments, options.grpc_compression
    if options.tls is None:
        return grpc.insecure_channel(url, options=arguments, compression=compression)
    return grpc.secure_channel(url, options.tls.credentials(), options=arguments, compression=compression)
