"""Shared memory with a real Triton: the same answers, and nothing is left behind, however a client ends."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tritonpack_client import AsyncClient, Client, DeadlineExceededError, InvalidRequestError, sharing
from tritonpack_client.regions import FOLDER, IN_USE
from tritonpack_client.steps import Failure, Send

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="this machine has no /dev/shm"),
]

LARGE = Path(__file__).with_name("large_repository")
X = np.arange(2 * 50_000, dtype=np.float32).reshape(2, -1) % 7


@pytest.fixture(scope="module")
def large_url(start_server):
    with start_server(models=("large",), source=LARGE) as server:
        yield server.grpc_url


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """No file and no name, after any of these tests."""
    yield
    assert files() == []
    assert set() == IN_USE
    url = request.getfixturevalue("large_url") if "large_url" in request.fixturenames else None
    if url:
        assert registered(url) == []


def files():
    return [path.name for path in FOLDER.glob("tritonpack-client.*")]


def registered(url):
    """What the server has mapped."""
    with Client(url) as client:

        def steps():
            return (yield Send(0, "SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest(), 5.0))

        status = client._io.run(steps())
        assert not isinstance(status, Failure)
        return sorted(status.regions)


def seen(url):
    """Wait until a region is there, and name it."""
    deadline = time.monotonic() + 20
    while not (names := registered(url)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return names


def check(outputs, x=X):
    np.testing.assert_allclose(outputs["sums"], np.repeat(x.sum(axis=1, keepdims=True), 65536, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(outputs["first"], x[:, :3])
    assert not outputs["sums"].flags.writeable


def test_answers_are_the_same_and_a_region_is_used_again(large_url):
    with Client(large_url, shared_memory=True) as client:
        for rows in (1, 2, 1):
            check(client.infer("large", {"x": X[:rows]}), X[:rows])
        names = registered(large_url)
        # The first was too small for two rows; it is gone by the time of the third request.
        assert len(names) == 1
        assert files() == []
        # Its memory isn't anybody's array.
        before = client.infer("large", {"x": X})
        check(client.infer("large", {"x": X + 1}), X + 1)
        check(before)
        assert registered(large_url) == names


def test_every_request_in_flight_has_its_own(large_url):
    def infer(number):
        check(client.infer("large", {"x": X + number}), X + number)

    with Client(large_url, shared_memory=True) as client:
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(infer, range(24))]
        assert 1 <= len(registered(large_url)) <= 4


def test_asyncio_does_it_too(large_url):
    async def main():
        async with AsyncClient(large_url, shared_memory=True) as client:
            inputs = [X + number for number in range(12)]
            answers = await asyncio.gather(*(client.infer("large", {"x": x}) for x in inputs))
            for x, outputs in zip(inputs, answers, strict=True):
                check(outputs, x)
            assert len(registered(large_url)) <= 12

    asyncio.run(main())


def test_texts_in_many_requests_at_a_time(server_url, monkeypatch):
    monkeypatch.setattr(sharing, "LEAST_BYTES", 1)
    texts = [f"text {number}" for number in range(50)]
    with Client(server_url) as plain, Client(server_url, shared_memory=True, concurrency=4) as client:
        vectors = plain.embed("hash", texts)
        np.testing.assert_array_equal(client.embed("hash", texts), vectors)
        assert 1 <= len(registered(server_url)) <= 4
        np.testing.assert_array_equal([*client.iter_embed("hash", texts)], vectors)

    async def main():
        async with AsyncClient(server_url, shared_memory=True) as client:
            np.testing.assert_array_equal(await client.embed("hash", texts), vectors)

    asyncio.run(main())
    assert registered(server_url) == []


def test_small_tensors_go_as_they_are(large_url):
    with Client(large_url, shared_memory=True) as client:
        assert client.is_ready("large")
        with pytest.raises(InvalidRequestError):
            client.infer("large", {"x": X[:0]})
        assert registered(large_url) == []


def seconds(value):
    return np.full((2, 1), value, np.float32)


def test_a_region_that_the_server_may_still_use_is_given_to_nobody(large_url):
    with Client(large_url, shared_memory=True) as client:
        check(client.infer("large", {"x": X}))
        (doubtful,) = registered(large_url)
        with pytest.raises(DeadlineExceededError):
            client.infer("large", {"x": X, "sleep": seconds(1)}, timeout_s=0.2)
        # The server is at it still, and others are answered meanwhile, from another region.
        for number in range(5):
            check(client.infer("large", {"x": X + number}), X + number)
        assert doubtful in registered(large_url)
        # When it is done, it lets go.
        deadline = time.monotonic() + 20
        while doubtful in registered(large_url):
            assert time.monotonic() < deadline
            check(client.infer("large", {"x": X}))
        assert len(registered(large_url)) == 1


def test_a_cancelled_request_keeps_its_region_too(large_url):
    async def main():
        async with AsyncClient(large_url, shared_memory=True) as client:
            task = asyncio.create_task(client.infer("large", {"x": X, "sleep": seconds(0.5)}))
            names = await asyncio.to_thread(seen, large_url)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            check(await client.infer("large", {"x": X + 1}), X + 1)
            assert len(registered(large_url)) == 2
            assert names[0] in registered(large_url)

    asyncio.run(main())


KILLED = """
import os, signal, sys
import numpy as np
from tritonpack_client import Client, regions
client = Client(sys.argv[1], shared_memory=True)
client.infer("large", {"x": np.ones((2, 50_000), np.float32)})
regions.Region(10_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_client_removes_what_a_killed_one_left(large_url):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, large_url], check=False, capture_output=True, text=True, timeout=60
    )
    assert killed.returncode < 0, killed.stderr
    assert len(registered(large_url)) == 1
    # As if it was killed before the server had mapped a second one.
    assert len(files()) == 1
    with Client(large_url, shared_memory=True) as client:
        check(client.infer("large", {"x": X}))
        (name,) = registered(large_url)
        assert f".{os.getpid()}." in name
        assert files() == []


def test_a_server_that_was_started_again_gets_its_regions_again(start_server):
    with start_server(models=("large",), source=LARGE) as server:
        ports = server.state.grpc_port, server.state.http_port, server.state.metrics_port
        client = Client(server.grpc_url, shared_memory=True, timeout_s=60)
        check(client.infer("large", {"x": X}))
    with start_server(models=("large",), source=LARGE, ports=ports) as server, client:
        # Whether the broken connection shows or not, the request is answered.
        client.wait_ready(30)
        check(client.infer("large", {"x": X}))
        check(client.infer("large", {"x": X}))
        (name,) = registered(server.grpc_url)
    assert name not in files()


def test_a_server_that_refuses_it_is_asked_once(start_server, caplog):
    caplog.set_level(logging.INFO, "tritonpack_client")
    with (
        start_server("--grpc-restricted-protocol=shared-memory:key=value", models=("large",), source=LARGE) as server,
        Client(server.grpc_url, shared_memory=True) as client,
    ):
        for _ in range(3):
            check(client.infer("large", {"x": X}))
        assert files() == []
    assert [record.getMessage()[:40] for record in caplog.records] == ["tensors don't go through shared memory: "]
    assert "restricted" in caplog.text
