# ruff: noqa: INP001 (a program, imported by nothing)
"""Start a Triton with the models of the conformance cases, and run `npm run test:server` against it.

python clients/typescript/scripts/with_server.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tritonpack.server import embedded

HERE = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the tests; their exit code."""
    with tempfile.TemporaryDirectory() as folder:
        # Python writes compiled files beside the models.
        repository = Path(shutil.copytree(HERE.parent / "conformance" / "repository", Path(folder) / "repository"))
        with embedded.start(embedded.ServerOptions(repository, *embedded.free_ports())) as server:
            environment = {**os.environ, "TRITONPACK_TEST_SERVER": server.grpc_url}
            return subprocess.run(["npm", "run", "test:server"], cwd=HERE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
