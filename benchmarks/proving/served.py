"""The server that the parts share: the models of the clients' conformance, and one of large batches."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tritonpack.server.embedded import ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFORMANCE = Path(__file__).resolve().parents[2] / "clients" / "conformance"
WIDE_BATCH = 256


@contextmanager
def served() -> Iterator[str]:
    """Serve ``hash``, and as ``wide`` the same with batches of `WIDE_BATCH`; the gRPC endpoint."""
    with tempfile.TemporaryDirectory(prefix="tritonpack-clients-") as folder:
        repository = Path(folder)
        for name in ("hash", "wide"):
            shutil.copytree(CONFORMANCE / "repository" / "hash", repository / name)
        config = repository / "wide" / "config.pbtxt"
        text = config.read_text(encoding="utf-8").replace('"hash"', '"wide"')
        config.write_text(text.replace("max_batch_size: 4", f"max_batch_size: {WIDE_BATCH}"), encoding="utf-8")
        with start(ServerOptions(repository, *free_ports())) as server:
            yield server.grpc_url
