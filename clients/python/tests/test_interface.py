"""Both clients are one interface; what users see is typed, and is imported quickly."""

import inspect
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import tritonpack_client
from tritonpack_client import AsyncClient, Client

USER = """
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

from tritonpack_client import (
    Answer, AsyncClient, Client, Entity, Label, ModelLimits, ModelState, Retries, Tls, Token, TritonClientError
)

with Client(["a:1", "b:1"], timeout_s=1, retries=Retries(attempts=2), tls=Tls(), headers={"x": "y"}) as client:
    assert_type(client, Client)
    assert_type(client.embed("m", ["a"]), NDArray[np.float32])
    assert_type(client.embed("m", [np.zeros(3)]), NDArray[np.float32])
    for vector in client.iter_embed("m", (text for text in "ab"), progress=lambda done: None):
        assert_type(vector, NDArray[np.float32])
    assert_type(client.classify("m", [("a", "b")]), list[list[Label]])
    assert_type(client.classify("m", ["a"])[0][0].score, float)
    assert_type(client.score_pairs("m", [("a", "b")], label="x"), NDArray[np.float32])
    assert_type(client.tag("m", ["a"]), list[list[Entity]])
    assert_type(client.answer("m", [("q", "c")]), list[list[Answer]])
    assert_type(client.fill_mask("m", ["a"]), list[list[list[Token]]])
    assert_type(client.next_tokens("m", ["a"]), list[list[Token]])
    assert_type(client.infer("m", {"x": np.zeros(3)}), dict[str, NDArray[Any]])
    assert_type(client.limits("m"), ModelLimits)
    assert_type(client.models(), list[ModelState])


async def texts() -> AsyncIterator[str]:
    yield "a"


async def main() -> None:
    async with AsyncClient() as client:
        assert_type(client, AsyncClient)
        assert_type(await client.embed("m", ["a"]), NDArray[np.float32])
        async for vector in client.iter_embed("m", texts()):
            assert_type(vector, NDArray[np.float32])
        async for outputs in client.stream("m", {}):
            assert_type(outputs, dict[str, NDArray[Any]])
    try:
        pass
    except TritonClientError as error:
        assert_type(error.attempts, int)
        assert_type(error.endpoint, str)
"""


def methods(kind):
    return {name: item for name, item in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_both_clients_have_the_same_methods():
    assert set(methods(Client)) == set(methods(AsyncClient))


@pytest.mark.parametrize("name", sorted(methods(Client)))
def test_a_method_takes_the_same_in_both(name):
    def taken(kind):
        parameters = inspect.signature(methods(kind)[name]).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert taken(Client) == taken(AsyncClient)


def test_both_clients_are_made_alike():
    assert inspect.signature(Client.__init__) == inspect.signature(AsyncClient.__init__)


@pytest.mark.parametrize("name", sorted(set(methods(Client)) - {"close"}))
def test_every_method_takes_a_deadline(name):
    assert "timeout_s" in inspect.signature(methods(Client)[name]).parameters


@pytest.mark.parametrize("name", sorted(methods(Client)))
def test_every_asynchronous_method_says_what_it_is_like(name):
    assert (inspect.getdoc(methods(AsyncClient)[name]) or "").startswith((f"As `Client.{name}`", "Close"))


def test_public_names_exist_and_the_pipeline_is_not_imported():
    assert all(hasattr(tritonpack_client, name) for name in tritonpack_client.__all__)
    code = "import sys, tritonpack_client; sys.exit(any(m.split('.')[0] == 'tritonpack' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def mypy(cache, *arguments):
    pytest.importorskip("mypy", reason="mypy comes with the development packages")
    command = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={cache}", *arguments]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_every_name_is_there_in_the_oldest_python_that_is_promised(tmp_path):
    """NumPy's own types need a newer one, so they are left out."""
    package = Path(tritonpack_client.__file__).parent
    options = ["--python-version=3.10", "--ignore-missing-imports", "--follow-imports=silent", "--no-site-packages"]
    mypy(tmp_path, *options, str(package))


def test_a_users_program_is_typed(tmp_path):
    """`py.typed` is there, and nothing that a program gets is Any."""
    program = tmp_path / "program.py"
    program.write_text(USER)
    # gRPC's packages have no types of their own.
    mypy(tmp_path, "--strict", "--follow-untyped-imports", str(program))


def import_us():
    """Microseconds that the client takes to be imported where gRPC is there already."""
    command = [sys.executable, "-X", "importtime", "-c", "import grpc, tritonpack_client"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    line = next(line for line in lines if line.endswith("| tritonpack_client"))
    return int(line.split("|")[1])


def test_it_is_imported_in_a_fifth_of_a_second_beside_grpc():
    import_us()
    assert statistics.median(import_us() for _ in range(5)) < 200_000
