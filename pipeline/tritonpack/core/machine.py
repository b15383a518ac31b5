"""The machine and the versions that a figure belongs to: a speed without them says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where something was measured; an embedded server ran there too.

    Attributes:
        cores: logical cores that this process may use.
        memory_gb: in 10^9 bytes.
        libc: name and version of the C library.
    """

    cpu: str
    cores: int
    memory_gb: float
    system: str
    libc: str
    python: str
    tritonpack: str


def this_machine() -> Machine:
    """Describe this machine."""
    import psutil

    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}",
        libc=" ".join(filter(None, platform.libc_ver())),
        python=platform.python_version(),
        tritonpack=metadata.version("tritonpack"),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
