"""Where tritonpack keeps what it may rebuild: the store, the server's environment, tools, logs."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The cache root: ``$TRITONPACK_HOME``, else ``$XDG_CACHE_HOME/tritonpack``, else ``~/.cache/tritonpack``.

    Below it: ``store/`` (actions and blobs), ``runtime/`` (the embedded server and its Python
    environment), ``tools/`` (perf_analyzer), ``servers/`` (process ids and logs).
    """
    if explicit := os.environ.get("TRITONPACK_HOME"):
        return Path(explicit).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().resolve() / "tritonpack"
