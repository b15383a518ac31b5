"""Large tensors of one client go through shared memory, where the server is on this machine."""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tritonclient.grpc import service_pb2

from tritonpack_client.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RequestCancelledError,
    ServerUnavailableError,
    TritonClientError,
    error_from_status,
)
from tritonpack_client.regions import FOLDER, IN_USE, Region, left_behind, remove_files
from tritonpack_client.steps import Failure, Pause, Send
from tritonpack_client.tensors import (
    Place,
    arrays_from_message,
    itemsize_of,
    message_from_contents,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack_client.course import Course
    from tritonpack_client.limits import ModelLimits
    from tritonpack_client.options import Options
    from tritonpack_client.steps import Steps
    from tritonpack_client.tensors import Content

LEAST_BYTES = 2**17
"""Smaller tensors go as they are.

Measured with `benchmarks/shared_memory.py` on 2 cores of an AMD EPYC, Triton 2.51: up to 64 KiB both ways take as
long; a request of 128 KiB takes 0.44 ms instead of 0.53, of 1 MiB 0.78 instead of 3.4, of 16 MiB 4.4 instead of 57; an
answer of 1 MiB 0.61 instead of 0.91, of 16 MiB 9.9 instead of 29.
"""

_ALIGNMENT_BYTES = 64
_HOUSEKEEPING_S = 2.0
_PATIENCE_S = 1.0
_AGAIN_S = 0.02
_UNKNOWN_REGION = "Unable to find shared memory region"
_STILL_IN_USE = "currently in use"
_NO_ANSWER = (ServerUnavailableError, DeadlineExceededError, RequestCancelledError)
# After these the server is done with the request; after others it may still run it.
_REFUSED = (OverloadedError, InvalidRequestError)
_LOGGER = logging.getLogger("tritonpack_client")


@dataclass
class Layout:
    """Where the large tensors of one request lie in a region.

    Attributes:
        inputs, outputs: by name, offset and size of each tensor that is shared.
        size: of the region, in bytes; 0 if nothing is shared.
    """

    inputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 0

    def add(self, tensors: dict[str, tuple[int, int]], name: str, size: int) -> None:
        """Make room for a tensor, if it is large."""
        if size >= LEAST_BYTES:
            tensors[name] = self.size, size
            self.size += -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def layout_of(limits: ModelLimits, contents: Sequence[Content]) -> Layout:
    """What of a request is shared: large inputs, and large outputs whose size the configuration tells."""
    layout = Layout()
    for content in contents:
        layout.add(layout.inputs, content.spec.name, len(content.data))
    batch = contents[0].shape[:1] if contents and limits.max_batch_size else ()
    for spec in limits.outputs:
        if spec.datatype != "BYTES" and all(dim > 0 for dim in spec.dims):
            layout.add(layout.outputs, spec.name, math.prod((*batch, *spec.dims)) * itemsize_of(spec.datatype))
    return layout


class Sharing:
    """The regions of one client: one for each request in flight, used again after it.

    A region's file is removed as soon as the server has mapped it, so that a process that ends in any way leaves
    nothing in /dev/shm; what it leaves registered at the server, the next client there unregisters.

    A request that ended without an answer may still be run: the server may write into its region. So the region is
    given to nobody else; it is unregistered as soon as the server, which counts who uses it, lets go.

    Args:
        options: the client's.
        course: makes its requests.
    """

    def __init__(self, options: Options, course: Course) -> None:
        self._options = options
        self._course = course
        self._lock = threading.Lock()
        self._idle: list[Region] = []
        self._retired: deque[str] = deque()
        self._names: set[str] = set()
        self._swept = False
        self._logged = False
        self._works = _is_here(options.urls[0]) and FOLDER.is_dir()
        if not self._works:
            self._log("the server isn't on this machine, or the machine has no /dev/shm")
        # A client that nobody closes leaves its regions to the next one.
        weakref.finalize(self, IN_USE.difference_update, self._names)

    def infer(
        self, limits: ModelLimits, contents: Sequence[Content], timeout_s: float, attempts: int | None
    ) -> Steps[dict[str, NDArray[Any]]]:
        """One request, through shared memory as far as that goes."""
        deadline = self._course.clock() + timeout_s
        layout = layout_of(limits, contents)
        # A server that was started again doesn't know the region, nor any other: it gets a new one.
        for last in (False, True):
            region = (yield from self._take(layout.size, deadline)) if layout.size else None
            lease = Lease(limits, contents, layout, region)
            try:
                answer = yield from self._course.request(
                    "ModelInfer",
                    lease.message,
                    model=limits.model,
                    timeout_s=deadline - self._course.clock(),
                    attempts=attempts,
                    also=lease,
                )
                return arrays_from_message(
                    answer, model=limits.model, endpoint=self._options.urls[0], contents=lease.outputs(answer)
                )
            except TritonClientError as error:
                if last or region is None or _UNKNOWN_REGION not in error.message:
                    raise
                self._give_up_idle()
            finally:
                self._give_back(lease)
        raise AssertionError("the last turn returns or raises")

    def close(self) -> Steps[None]:
        """Unregister every region. One that the server still uses is waited for, but not long."""
        with self._lock:
            self._works = False
            regions, self._idle = self._idle, []
            names = [*self._names]
        for region in regions:
            region.close()
        deadline = self._course.clock() + _PATIENCE_S
        while names := (yield from self._still_in_use(names)):
            if self._course.clock() >= deadline:
                break
            yield Pause(_AGAIN_S)
        # What is left, the next client unregisters.
        with self._lock:
            IN_USE.difference_update(self._names)
            self._names.clear()

    def _still_in_use(self, names: Sequence[str]) -> Steps[list[str]]:
        """Unregister regions; which of them couldn't be, since the server uses them."""
        left = []
        for name in names:
            outcome = yield from self._unregister(name)
            if _is_in_use(outcome):
                left.append(name)
            elif isinstance(outcome, Failure):
                # Nobody is there who uses any.
                return []
        return left

    def _take(self, size: int, deadline: float) -> Steps[Region | None]:
        """A region for one request, or None if there can't be one."""
        if not self._works:
            return None
        yield from self._sweep()
        with self._lock:
            fitting = [region for region in self._idle if region.size >= size]
            small = self._idle.pop() if self._idle and not fitting else None
            region = min(fitting, key=lambda region: region.size, default=None)
            if region is not None:
                self._idle.remove(region)
        if small is not None:
            self._retire(small)
        return region or (yield from self._make(size, deadline))

    def _make(self, size: int, deadline: float) -> Steps[Region | None]:
        try:
            region = Region(size)
        except OSError as error:
            self._log(f"no room for {size} bytes in {FOLDER}: {error.strerror}")
            return None
        self._names.add(region.name)
        outcome: Any = None
        try:
            request = service_pb2.SystemSharedMemoryRegisterRequest(
                name=region.name, key=f"/{region.name}", offset=0, byte_size=region.size
            )
            timeout_s = min(max(deadline - self._course.clock(), 0.0), _HOUSEKEEPING_S)
            outcome = yield self._send("SystemSharedMemoryRegister", request, timeout_s)
        finally:
            region.unlink()
            if outcome is None or isinstance(outcome, Failure):
                self._retire(region)
        if not isinstance(outcome, Failure):
            return region
        if not isinstance(error_from_status(outcome.status, outcome.message), _NO_ANSWER):
            self._works = False
            self._log(f"the server refuses it: {outcome.message}")
        return None

    def _give_back(self, lease: Lease) -> None:
        """A region is free again, if the server is done with it for certain."""
        if lease.region is None:
            return
        with self._lock:
            if self._works and not lease.in_doubt:
                self._idle.append(lease.region)
                return
        self._retire(lease.region)

    def _give_up_idle(self) -> None:
        with self._lock:
            regions, self._idle = self._idle, []
        for region in regions:
            self._retire(region)

    def _retire(self, region: Region) -> None:
        region.close()
        self._retired.append(region.name)

    def _sweep(self) -> Steps[None]:
        """Unregister what processes that ended have left, once; then one of our own, if there is any."""
        with self._lock:
            first, self._swept = not self._swept, True
        if first:
            remove_files()
            outcome = yield self._send("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest())
            if not isinstance(outcome, Failure):
                for name in left_behind(outcome.regions):
                    yield from self._unregister(name)
        try:
            name = self._retired.popleft()
        except IndexError:
            return
        outcome = Failure("", _STILL_IN_USE)
        try:
            outcome = yield from self._unregister(name)
        finally:
            if isinstance(outcome, Failure):
                self._retired.append(name)

    def _unregister(self, name: str) -> Steps[Any]:
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
        outcome = yield self._send("SystemSharedMemoryUnregister", request)
        if not isinstance(outcome, Failure):
            self._names.discard(name)
            IN_USE.discard(name)
        return outcome

    def _send(self, method: str, message: Any, timeout_s: float = _HOUSEKEEPING_S) -> Send:
        # Not a request of the caller's: it is neither tried again nor watched.
        return Send(0, method, message, timeout_s, self._options.headers)

    def _log(self, reason: str) -> None:
        if not self._logged:
            self._logged = True
            _LOGGER.warning("tensors don't go through shared memory: %s", reason)


class Lease:
    """One request's use of a region. It watches the request.

    Attributes:
        message: the request. After an attempt that failed it holds the tensors themselves: the server may still be
            at work in the region.
        in_doubt: the server may still use the region.
    """

    headers: Mapping[str, str] = {}

    def __init__(self, limits: ModelLimits, contents: Sequence[Content], layout: Layout, region: Region | None) -> None:
        self._limits = limits
        self._contents = contents
        self._layout = layout
        self.region = region
        self.in_doubt = False
        self._shared = region is not None
        self.message = message_from_contents(limits, contents) if region is None else self._written(region)

    def _written(self, region: Region) -> Any:
        """The request, and its inputs in the region."""
        for content in self._contents:
            if content.spec.name in self._layout.inputs:
                region.write(self._layout.inputs[content.spec.name][0], content.data)
        inputs = {name: Place(region.name, *where) for name, where in self._layout.inputs.items()}
        outputs = {name: Place(region.name, *where) for name, where in self._layout.outputs.items()}
        return message_from_contents(self._limits, self._contents, inputs, outputs)

    def outputs(self, answer: Any) -> dict[str, bytes]:
        """What the server wrote into the region, by output."""
        if self.region is None or not self._shared:
            return {}
        found = {}
        for output in answer.outputs:
            if output.name in self._layout.outputs:
                offset, most = self._layout.outputs[output.name]
                size = math.prod(output.shape) * itemsize_of(output.datatype)
                found[output.name] = self.region.read(offset, min(size, most))
        return found

    def attempt_began(self, endpoint: str, attempt: int) -> None:
        """Nothing to do."""

    def attempt_failed(self, error: TritonClientError, pause_s: float) -> None:  # noqa: ARG002 (the protocol's)
        """The next attempt doesn't share."""
        if self._shared:
            self._shared = False
            self.in_doubt = True
            self.message.CopyFrom(message_from_contents(self._limits, self._contents))

    def ended(self, error: TritonClientError | None) -> None:
        """Whether the server is done with the region."""
        self.in_doubt |= error is not None and not isinstance(error, _REFUSED)


def _is_here(url: str) -> bool:
    """Whether an endpoint is on this machine, as far as its name says."""
    host = url.rpartition(":")[0].strip("[]")
    return host in {"localhost", "::1"} or host.startswith("127.")


def _is_in_use(outcome: Any) -> bool:
    return isinstance(outcome, Failure) and _STILL_IN_USE in outcome.message
