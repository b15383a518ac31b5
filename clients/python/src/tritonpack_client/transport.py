"""The only file that speaks to tritonclient: requests out, answers and mapped errors in."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tritonpack_client.batching import bytes_tensor
from tritonpack_client.errors import InputTypeError, error_from_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray


class Transport:
    """One gRPC channel; safe to share between threads.

    Args:
        url: ``host:port``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = triton.InferenceServerClient(url)

    def close(self) -> None:
        """Close the channel."""
        self._client.close()

    def call(self, method: str, *arguments: Any, timeout_s: float, model: str = "") -> Any:
        """Call a method of tritonclient's client by its name.

        Raises:
            TritonClientError: the error of the call's gRPC status.
        """
        try:
            return getattr(self._client, method)(*arguments, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise self._mapped(error, model) from error

    def infer_many(
        self,
        model: str,
        requests: Sequence[Callable[[], Sequence[Any]]],
        outputs: Sequence[str],
        *,
        concurrency: int,
        timeout_s: float,
    ) -> list[dict[str, NDArray[Any]]]:
        """Send requests, at most ``concurrency`` at a time; the first failure cancels the rest.

        Args:
            model: the model's name.
            requests: each makes the inputs of one request, so that only those in flight take memory.
            outputs: names of the outputs to ask for.
            concurrency: the most requests in flight.
            timeout_s: the deadline of each request, counted from when it is sent.

        Returns:
            The outputs of each request, in the order of ``requests``.

        Raises:
            TritonClientError: the error of the first request that failed.
        """
        answers: dict[int, dict[str, NDArray[Any]]] = {}
        in_flight: dict[Future[Any], tuple[int, Any]] = {}
        waiting = iter(enumerate(requests))
        try:
            self._fill(in_flight, waiting, concurrency, model=model, outputs=outputs, timeout_s=timeout_s)
            while in_flight:
                done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
                for future in done:
                    index, _call = in_flight.pop(future)
                    answers[index] = self._outputs(future, outputs, model)
                self._fill(in_flight, waiting, concurrency, model=model, outputs=outputs, timeout_s=timeout_s)
        finally:
            for _index, call in in_flight.values():
                call.cancel()
        return [answers[index] for index in range(len(requests))]

    def _fill(
        self,
        in_flight: dict[Future[Any], tuple[int, Any]],
        waiting: Iterator[tuple[int, Callable[[], Sequence[Any]]]],
        concurrency: int,
        *,
        model: str,
        outputs: Sequence[str],
        timeout_s: float,
    ) -> None:
        """Send requests until ``concurrency`` are in flight."""
        while len(in_flight) < concurrency and (following := next(waiting, None)):
            index, inputs = following
            future: Future[Any] = Future()
            wanted = [triton.InferRequestedOutput(name) for name in outputs]
            callback = _completion(future)
            try:
                call = self._client.async_infer(
                    model, inputs(), callback, outputs=wanted or None, client_timeout=timeout_s
                )
            except InferenceServerException as error:
                raise self._mapped(error, model) from error
            in_flight[future] = (index, call)

    def _outputs(self, future: Future[Any], outputs: Sequence[str], model: str) -> dict[str, NDArray[Any]]:
        try:
            result = future.result()
        except InferenceServerException as error:
            raise self._mapped(error, model) from error
        names = outputs or [output.name for output in result.get_response().outputs]
        return {name: array for name in names if (array := result.as_numpy(name)) is not None}

    def _mapped(self, error: InferenceServerException, model: str) -> Exception:
        return error_from_status(error.status() or "", error.message() or str(error), model=model, endpoint=self.url)


def _completion(future: Future[Any]) -> Callable[[Any, Exception | None], None]:
    """Make the callback that tritonclient calls on a thread of gRPC's."""

    def complete(result: Any, error: Exception | None) -> None:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return complete


def input_from_array(name: str, array: NDArray[Any]) -> Any:
    """Make tritonclient's input of an array.

    Raises:
        InputTypeError: Triton has no type for the array's.
        InvalidInputError: a text in the array can't be encoded.
    """
    array = bytes_tensor(name, array)
    datatype = np_to_triton_dtype(array.dtype)
    if datatype is None:
        raise InputTypeError(f"input {name!r}: Triton has no type for arrays of {array.dtype}")
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def inputs_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Make tritonclient's inputs of named arrays."""
    return [input_from_array(name, array) for name, array in arrays.items()]
