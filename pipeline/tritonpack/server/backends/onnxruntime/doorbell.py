"""A request that wakes Triton's batcher where it sleeps although there is work.

A bounded queue makes Triton form each batch only when an instance waits for it, and its batcher is woken at the end
of an execution, a moment *before* the instance counts as waiting. On a busy machine the batcher looks in that moment,
finds nobody and sleeps on: until the next request that the queue takes, or for half a second. A full queue takes no
request, so an overloaded server would run one batch in half a second.

So whoever has executed a batch rings if no other one follows soon: a request of the first priority, whose queue has
room while the others are full, that may wait for one microsecond. Triton takes it, wakes the batcher and refuses it
as too old before anything runs. It is rung again, after longer and longer pauses, until a batch comes or a refusal
shows that the batcher was awake and had nothing to do. The bell looks by its own clock: being told of each batch
would cost each batch the waking of a thread.

Source: https://github.com/triton-inference-server/core/blob/r24.10/src/dynamic_batch_scheduler.cc (`Enqueue`,
`WaitForPayloadSlotAvailable`) and ``src/rate_limiter.cc`` (`DequeuePayload`).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from typing import Any

PORT_VARIABLE = "TRITONPACK_HTTP_PORT"
# A client that asks again at once comes between two looks.
_FIRST_S = 0.002
_GROWTH = 1.5
_LAST_S = 0.3
_TIMEOUT_S = 1.0
_ANSWER_BYTES = 65536
_TYPE_BYTES = {"BOOL": 1, "INT8": 1, "INT32": 4, "INT64": 8, "FP16": 2, "FP32": 4, "STRING": 4}


class Doorbell:
    """Rings for one instance of a model, from a thread of its own; a batch is executed inside ``with``."""

    def __init__(self, request: bytes, port: int) -> None:
        """Start the thread.

        Args:
            request: what is sent, HTTP and all.
            port: of the server's HTTP endpoint on this machine.
        """
        self._request = request
        self._port = port
        # Beginnings and ends of batches: odd while one is executed.
        self._moves = 0
        self._asleep = True
        self._awake = threading.Event()
        self._unanswered: list[socket.socket] = []
        # Of rings before the last batch, whose answers say nothing of now.
        self._outdated: list[socket.socket] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> None:
        """A batch came: there is nothing to ring for."""
        self._moves += 1

    def __exit__(self, *_: object) -> None:
        """A batch was executed."""
        self._moves += 1
        if self._asleep:
            self._awake.set()

    def close(self) -> None:
        """End the thread and its connections."""
        self._closed = True
        self._awake.set()
        self._thread.join()
        for connection in (*self._unanswered, *self._outdated):
            connection.close()

    def _run(self) -> None:
        heard = 0
        while not self._closed:
            self._asleep = True
            # A batch that ended before the line above has woken nobody.
            if self._moves == heard:
                self._awake.wait()
            self._asleep = False
            self._awake.clear()
            heard = self._ring_until_heard()

    def _ring_until_heard(self) -> int:
        """Look every now and then until no batch follows, and that for a reason; return the moves until then."""
        moves, pause_s = self._heard_of_batch()
        while pause_s < _LAST_S and not self._closed:
            time.sleep(pause_s)
            if self._moves % 2 or self._moves != moves:
                moves, pause_s = self._heard_of_batch()
                continue
            if self._take_answers():
                break
            self._ring()
            pause_s *= _GROWTH
        return moves

    def _heard_of_batch(self) -> tuple[int, float]:
        """Begin anew: the moves until now, and the first pause."""
        self._outdated = [one for one in (*self._outdated, *self._unanswered) if not _is_over(one)]
        self._unanswered = []
        return self._moves, _FIRST_S

    def _ring(self) -> None:
        """Send the request; whether it's answered is seen later.

        A connection isn't kept: Triton, when it's stopped, waits for those that are open.
        """
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S)
        except OSError:
            # Nobody listens yet, or no longer.
            return
        self._unanswered.append(connection)
        connection.setblocking(False)
        # A few hundred bytes always fit; of a connection that is already gone, `_take_answers` hears.
        with contextlib.suppress(OSError):
            connection.send(self._request)

    def _take_answers(self) -> bool:
        """Whether an answer has come since the last look."""
        before = len(self._unanswered)
        self._unanswered = [connection for connection in self._unanswered if not _is_over(connection)]
        return len(self._unanswered) < before


def _is_over(connection: socket.socket) -> bool:
    """Whether a connection has brought an answer, or never will; it's closed then."""
    try:
        connection.recv(_ANSWER_BYTES)
    except BlockingIOError:
        return False
    except OSError:
        pass
    connection.close()
    return True


def doorbell_for(config: dict[str, Any]) -> Doorbell | None:
    """Make the bell of a model, or None where its queue lets Triton's batcher work ahead, or has no way to be rung.

    Args:
        config: the model's configuration as JSON.
    """
    policy = config.get("dynamic_batching", {}).get("priority_queue_policy", {}).get("1", {})
    port = os.environ.get(PORT_VARIABLE, "")
    # What isn't refused for its age would be executed, and rung for again.
    refuses = policy.get("allow_timeout_override") and int(policy.get("default_timeout_microseconds", 0)) > 1
    if not refuses or policy.get("timeout_action", "REJECT") != "REJECT" or not port.isdecimal():
        return None
    return Doorbell(ring_request(config), int(port))


def ring_request(config: dict[str, Any]) -> bytes:
    """Write the request that rings: a row of zeros of the model's inputs, as HTTP.

    Source: https://github.com/triton-inference-server/server/blob/v2.51.0/docs/protocol/extension_binary_data.md and
    ``extension_schedule_policy.md``.
    """
    inputs, zeros = [], b""
    for entry in config["input"]:
        shape = [max(1, int(size)) for size in entry["dims"]]
        if config.get("max_batch_size", 0) > 0:
            shape.insert(0, 1)
        kind = entry["data_type"].removeprefix("TYPE_")
        count = _TYPE_BYTES[kind]
        for size in shape:
            count *= size
        inputs.append({
            "name": entry["name"],
            "shape": shape,
            "datatype": "BYTES" if kind == "STRING" else kind,
            "parameters": {"binary_data_size": count},
        })  # fmt: skip
        zeros += bytes(count)
    header = json.dumps({"inputs": inputs, "parameters": {"priority": 1, "timeout": 1}}).encode()
    lines = (
        f"POST /v2/models/{config['name']}/infer HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(header)}",
        f"Content-Length: {len(header) + len(zeros)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + header + zeros
