"""The server's process, the Python stubs below it, and the shared memory between them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tritonpack.server.options import EXIT_TIMEOUT_S
from tritonpack.server.state import process_from_state

if TYPE_CHECKING:
    from tritonpack.server.state import ServerState

_STUB = "triton_python_backend_stub"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_MARGIN_S = 3.0


def end_process(state: ServerState, *, at_once: bool = False) -> None:
    """Stop the server: SIGTERM, then SIGKILL to its whole group if it isn't gone in time.

    Args:
        state: the server.
        at_once: leave the first step out, since nobody's request can be in flight.
    """
    process = process_from_state(state)
    if process is None:
        return
    with contextlib.suppress(psutil.Error):
        if not at_once:
            # Triton would wait for a stub that is dead until its own timeout.
            patience_s = EXIT_TIMEOUT_S + _MARGIN_S if count_stubs(state) == state.stubs else _MARGIN_S
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(patience_s)
    # The server leads its own session, so its group holds its stubs and nothing else.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(state.pid, signal.SIGKILL)
    with contextlib.suppress(psutil.Error):
        process.wait(_MARGIN_S)


def count_stubs(state: ServerState) -> dict[str, int]:
    """Count the living Python processes of each model."""
    process = process_from_state(state)
    if process is None:
        return {}
    stubs: Counter[str] = Counter()
    for child in process.children():
        with contextlib.suppress(psutil.Error):
            if model := _model_of_stub(child):
                stubs[model] += 1
    return dict(sorted(stubs.items()))


def remove_shared_memory(prefix: str) -> None:
    """Remove the regions that a killed server leaves in /dev/shm."""
    for region in _SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _model_of_stub(process: psutil.Process) -> str | None:
    """Name the model of a stub, whose first argument is ``<repository>/<model>/<version>/<file>``."""
    if process.status() == psutil.STATUS_ZOMBIE:
        return None
    command = process.cmdline()
    if len(command) <= 1 or not command[0].endswith(_STUB):
        return None
    return Path(command[1]).parts[-3]
