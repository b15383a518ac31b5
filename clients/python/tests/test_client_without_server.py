"""What the clients say without a server, and where it never answers."""

import asyncio
import signal
import socket
import threading
import time

import numpy as np
import pytest

from tritonpack_client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InputTypeError,
    InvalidInputError,
    RequestCancelledError,
    Retries,
    ServerUnavailableError,
)

NOBODY = "127.0.0.1:1"
ONCE = Retries(attempts=1)
# Long enough for a machine that does much else, and much shorter than what would be waited for otherwise.
SOON_S = 10


@pytest.fixture
def silent():
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def calls(client):
    """Every call; iterators are gone through."""
    inputs = {"text": np.array([["a"]])}
    return {
        "server": client.server,
        "models": client.models,
        "limits": lambda: client.limits("m"),
        "embed": lambda: client.embed("m", ["a"]),
        "iter_embed": lambda: client.iter_embed("m", ["a"]),
        "classify": lambda: client.classify("m", ["a"]),
        "score_pairs": lambda: client.score_pairs("m", [("a", "b")]),
        "tag": lambda: client.tag("m", ["a"]),
        "answer": lambda: client.answer("m", [("a", "b")]),
        "fill_mask": lambda: client.fill_mask("m", ["a"]),
        "next_tokens": lambda: client.next_tokens("m", ["a"]),
        "infer": lambda: client.infer("m", inputs),
        "stream": lambda: client.stream("m", inputs),
    }


ITERATORS = {"iter_embed", "stream"}
CALLS = [*calls(Client(NOBODY))]


def blocking(url, name, **options):
    with Client(url, **options) as client:
        result = calls(client)[name]()
        return list(result) if name in ITERATORS else result


def awaited(url, name, **options):
    async def main():
        async with AsyncClient(url, **options) as client:
            result = calls(client)[name]()
            return [item async for item in result] if name in ITERATORS else await result

    return asyncio.run(main())


@pytest.fixture(params=[blocking, awaited])
def call(request):
    return request.param


@pytest.mark.parametrize("name", CALLS)
def test_a_call_to_nobody_names_the_endpoint(call, name):
    with pytest.raises(ServerUnavailableError, match=r"at 127\.0\.0\.1:1, attempt 2 of 2"):
        call(NOBODY, name, retries=Retries(attempts=2, max_pause_s=0))


@pytest.mark.parametrize("name", ["embed", "stream", "iter_embed"])
def test_a_server_that_is_silent_keeps_nobody_beyond_the_deadline(call, silent, name):
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"attempt 1 of 5"):
        call(silent, name, timeout_s=0.3)
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("url", [NOBODY, "silent"])
def test_nobody_there_is_not_ready(url, silent):
    url = silent if url == "silent" else url

    async def ready():
        async with AsyncClient(url) as client:
            return await client.is_ready(timeout_s=0.2), await client.is_ready("m", timeout_s=0.2)

    with Client(url) as client:
        assert not client.is_ready(timeout_s=0.2)
        assert not client.is_ready("m", timeout_s=0.2)
    assert asyncio.run(ready()) == (False, False)


@pytest.mark.parametrize("url", [NOBODY, "silent"])
def test_waiting_ends_in_time(url, silent):
    started = time.monotonic()
    with (
        Client(silent if url == "silent" else url) as client,
        pytest.raises(ServerUnavailableError, match=r"not ready after 0\.2 s.*minilm"),
    ):
        client.wait_ready(0.2, "minilm")
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("texts", ["abc", b"abc", None, 3, np.array("abc")])
def test_one_text_is_not_texts_before_anything_is_sent(texts):
    async def gone_through(client):
        return [vector async for vector in client.iter_embed("m", texts)]

    with Client(NOBODY) as client, pytest.raises(InputTypeError, match="texts is"):
        next(client.iter_embed("m", texts))
    with pytest.raises(InputTypeError, match="texts is"):
        asyncio.run(gone_through(AsyncClient(NOBODY)))


def waiting_for(call):
    """Start a call in a thread; its error is in the list once the thread ends."""
    errors = []

    def run():
        try:
            call()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


PATIENT = Retries(attempts=100, first_pause_s=60, max_pause_s=60)


@pytest.mark.parametrize(
    ("url", "options"), [("silent", {}), (NOBODY, {"retries": PATIENT})], ids=["while a call waits", "in a pause"]
)
@pytest.mark.parametrize("name", ["embed", "iter_embed", "stream", "limits"])
def test_close_ends_what_another_thread_waits_for(silent, url, options, name):
    client = Client(silent if url == "silent" else url, timeout_s=300, **options)
    before = time.monotonic()
    thread, errors = waiting_for(lambda: list(calls(client)[name]()))
    time.sleep(0.3)
    client.close()
    client.close()
    thread.join(SOON_S)
    assert not thread.is_alive()
    # In a pause, what is waited for failed before.
    assert [type(error) for error in errors] == [RequestCancelledError]
    assert time.monotonic() - before < SOON_S


@pytest.mark.parametrize(
    ("url", "options"), [("silent", {}), (NOBODY, {"retries": PATIENT})], ids=["while a call waits", "in a pause"]
)
@pytest.mark.parametrize("name", ["embed", "iter_embed", "stream", "limits"])
def test_close_ends_what_another_task_waits_for(silent, url, options, name):
    async def main():
        client = AsyncClient(silent if url == "silent" else url, timeout_s=300, **options)

        async def wait():
            result = calls(client)[name]()
            return [item async for item in result] if name in ITERATORS else await result

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.3)
        await client.close()
        await client.close()
        await asyncio.wait([task], timeout=SOON_S)
        return task

    task = asyncio.run(main())
    assert isinstance(task.exception(), RequestCancelledError)


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_client_says_so(name):
    client = Client(NOBODY)
    client.close()
    with pytest.raises(RequestCancelledError, match="the client is closed"):
        list(calls(client)[name]())

    async def main():
        client = AsyncClient(NOBODY)
        await client.close()
        result = calls(client)[name]()
        return [item async for item in result] if name in ITERATORS else await result

    with pytest.raises(RequestCancelledError, match="the client is closed"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "options"), [("silent", {}), (NOBODY, {"retries": PATIENT})], ids=["while a call waits", "in a pause"]
)
def test_a_task_that_is_cancelled_ends_at_once_and_as_cancelled(silent, url, options):
    async def main():
        async with AsyncClient(silent if url == "silent" else url, timeout_s=300, **options) as client:
            tasks = [asyncio.create_task(client.embed("m", ["a"])) for _ in range(3)]
            await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), SOON_S)

    assert [type(error) for error in asyncio.run(main())] == [asyncio.CancelledError] * 3


def test_an_asynchronous_client_stays_in_its_loop():
    client = AsyncClient(NOBODY, retries=ONCE)
    assert not asyncio.run(client.is_ready())
    for name in ("embed", "stream", "models"):
        with pytest.raises(InvalidInputError, match=r"another event loop before.*Make an AsyncClient for each"):
            asyncio.run(anext(aiter(calls(client)[name]())) if name in ITERATORS else calls(client)[name]())


def test_an_asynchronous_client_may_be_made_outside_of_a_loop():
    client = AsyncClient(NOBODY, retries=ONCE)

    async def main():
        async with client:
            assert not await client.is_ready()

    asyncio.run(main())


@pytest.fixture
def interrupts():
    """SIGINT raises KeyboardInterrupt also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("url", "options"), [("silent", {}), (NOBODY, {"retries": PATIENT})], ids=["while a call waits", "in a pause"]
)
@pytest.mark.parametrize("name", ["embed", "stream", "server"])
@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_ends_a_call_and_leaves_no_thread(silent, url, options, name):
    before = threading.active_count()
    with Client(silent if url == "silent" else url, timeout_s=300, **options) as client:
        main = threading.main_thread().ident
        timer = threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT])
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(calls(client)[name]())
        assert time.monotonic() - started < SOON_S
        timer.join()
    deadline = time.monotonic() + SOON_S
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
