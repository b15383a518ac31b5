"""`chaos.py` at a smaller scale: in a process of its own, since it looks at what that process holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]
PROGRAM = Path(__file__).resolve().parents[1] / "chaos.py"


def test_every_call_ends_as_it_should():
    pytest.importorskip("tritonpack.server.embedded", reason="the embedded server comes with tritonpack")
    command = [sys.executable, str(PROGRAM), "--requests", "3000", "--kills", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    document = json.loads(done.stdout)
    assert document["must_not_be"] == {"overdue": [], "wrong": [], "unmapped": [], "twice": []}
    assert not any(document["left_behind"].values()), document["left_behind"]
    assert sum(row["count"] for row in document["outcomes"]) == document["requests"] == 3000
    found = {row["outcome"]: row["example"] for row in document["outcomes"]}
    assert found.keys() <= {"answer", "ServerUnavailableError", "DeadlineExceededError", "ServerFailureError"}, found
    answered = {row["client"]: row["count"] for row in document["outcomes"] if row["outcome"] == "answer"}
    # Chaos, but not a rout.
    assert min(answered.values()) > 500
    assert document["connections"] > 60
    assert document["resets"] > 0
    assert document["counted"] > 0
    assert document["regions"] > 0
    assert done.returncode == 0
