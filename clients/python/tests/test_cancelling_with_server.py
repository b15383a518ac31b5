"""Laziness, bounds, deadlines and cancellation of both clients against a real Triton."""

import asyncio
import itertools
import threading
import time

import numpy as np
import psutil
import pytest

from tritonpack_client import AsyncClient, Client, DeadlineExceededError, RequestCancelledError, ServerFailureError

pytestmark = pytest.mark.server

LONG = "wait:60"
# Long enough for a machine that does much else, and much shorter than LONG.
SOON_S = 15


@pytest.fixture
def client(server_url):
    with Client(server_url, timeout_s=90) as client:
        yield client


def cancelled(client):
    """How many requests saw on the server that they were cancelled."""
    return int(client.embed("patient", ["cancelled"])[0, 0])


def become_more(client, before):
    """Whether a request sees soon that it was cancelled."""
    deadline = time.monotonic() + SOON_S
    while (now := cancelled(client)) <= before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now > before


class Flights:
    """An observer that counts requests in flight."""

    headers = {}  # noqa: RUF012 (never changed)

    def __init__(self):
        self.now = self.most = self.count = 0
        self.lock = threading.Lock()

    def began(self, request):
        if request.method == "ModelInfer":
            with self.lock:
                self.now += 1
                self.count += 1
                self.most = max(self.most, self.now)
            return self
        return Unseen()

    def attempt_began(self, endpoint, attempt):
        pass

    attempt_failed = attempt_began

    def ended(self, _error):
        with self.lock:
            self.now -= 1


class Unseen(Flights):
    def __init__(self):
        pass

    def ended(self, _error):
        pass


class Counted:
    """Texts without end, and how many were taken."""

    def __init__(self):
        self.taken = 0

    def __iter__(self):
        for number in itertools.count():
            self.taken += 1
            yield str(number)

    async def __aiter__(self):
        for text in self:
            yield text


# Two requests a place are started or wait to be given, beside the window that isn't whole yet and the one that is cut;
# a request holds four texts, a window eight requests.
def most_held(concurrency):
    return 4 * (2 * concurrency + 16)


@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_texts_without_end_are_taken_as_they_are_sent(server_url, concurrency):
    flights, done = Flights(), []
    with Client(server_url, concurrency=concurrency, observers=[flights]) as client:
        texts = Counted()
        vectors = client.iter_embed("hash", iter(texts), progress=done.append)
        assert texts.taken == 0
        for number, vector in enumerate(itertools.islice(vectors, 500)):
            assert texts.taken - number <= most_held(concurrency)
            if number % 100 == 0:
                np.testing.assert_array_equal(vector, client.embed("hash", [str(number)])[0])
        vectors.close()
        assert flights.now == 0
        assert flights.most <= concurrency + 1  # that of `embed` above
        assert done == sorted(done)
        assert done[-1] >= 400


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("kind", [iter, aiter])
def test_texts_without_end_in_a_task(server_url, concurrency, kind):
    async def main():
        flights = Flights()
        async with AsyncClient(server_url, concurrency=concurrency, observers=[flights]) as client:
            texts = Counted()
            vectors = client.iter_embed("hash", kind(texts))
            number = 0
            async for _ in vectors:
                assert texts.taken - number <= most_held(concurrency)
                number += 1
                if number == 500:
                    break
            await vectors.aclose()
            assert (flights.now, len(asyncio.all_tasks())) == (0, 1)
            assert flights.most <= concurrency

    asyncio.run(main())


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
def test_every_text_has_its_vector_in_order(client, server_url, count):
    texts = ["x" * (index * 7 % 31) + str(index) for index in range(count)]
    expected = client.embed("hash", texts)
    assert np.array_equal([*client.iter_embed("hash", iter(texts))] or np.empty((0, 8)), expected)

    async def main():
        async with AsyncClient(server_url) as other:
            return [vector async for vector in other.iter_embed("hash", texts)], await other.embed("hash", texts)

    one_by_one, together = asyncio.run(main())
    assert np.array_equal(one_by_one or np.empty((0, 8)), expected)
    assert np.array_equal(together, expected)


def test_texts_that_break_midway_end_the_iterator_with_their_own_error(client, server_url):
    def texts():
        yield from map(str, range(50))
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(client.iter_embed("hash", texts()))

    async def main():
        async with AsyncClient(server_url) as other:
            return [vector async for vector in other.iter_embed("hash", texts())]

    with pytest.raises(LookupError, match="no more"):
        asyncio.run(main())


def endless():
    """A window of texts that are answered at once, and then ones that wait."""
    return itertools.chain(["quick"] * 8, itertools.repeat(LONG))


def test_an_iterator_that_is_closed_cancels_its_requests(client):
    before = cancelled(client)
    vectors = client.iter_embed("patient", endless())
    assert next(vectors)[0] == 5
    vectors.close()
    assert become_more(client, before)


def test_an_asynchronous_iterator_that_is_closed_cancels_its_requests(client, server_url):
    before = cancelled(client)

    async def main():
        async with AsyncClient(server_url, timeout_s=90) as other:
            vectors = other.iter_embed("patient", endless())
            assert (await anext(vectors))[0] == 5
            await vectors.aclose()
            assert await asyncio.to_thread(become_more, client, before)

    asyncio.run(main())


@pytest.mark.parametrize("texts", [[LONG], [LONG] * 5], ids=["one request", "several"])
def test_a_task_that_is_cancelled_cancels_its_requests_on_the_server(client, server_url, texts):
    before = cancelled(client)

    async def main():
        async with AsyncClient(server_url, timeout_s=90) as other:
            task = asyncio.create_task(other.embed("patient", texts))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(become_more, client, before)
            # The client goes on.
            assert (await other.embed("patient", ["quick"]))[0, 0] == 5

    asyncio.run(main())


@pytest.mark.parametrize("texts", [[LONG], [LONG] * 5], ids=["one request", "several"])
def test_close_ends_calls_of_other_threads_and_cancels_them_on_the_server(client, server_url, texts):
    before = cancelled(client)
    other = Client(server_url, timeout_s=90)
    errors = []

    def call():
        try:
            other.embed("patient", texts)
        except RequestCancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.5)
    other.close()
    thread.join(SOON_S)
    assert len(errors) == 1
    assert become_more(client, before)


def test_the_first_failure_cancels_the_rest(client, server_url):
    before = cancelled(client)
    started = time.monotonic()
    with pytest.raises(ServerFailureError, match="asked to fail"):
        client.embed("patient", [LONG, "fail"])

    async def main():
        async with AsyncClient(server_url, timeout_s=90) as other:
            await other.embed("patient", [LONG, "fail"])

    with pytest.raises(ServerFailureError, match="asked to fail"):
        asyncio.run(main())
    assert time.monotonic() - started < SOON_S
    assert become_more(client, before + 1)


def test_a_deadline_is_kept_and_reaches_the_server(client, server_url):
    before = cancelled(client)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        client.embed("patient", [LONG] * 3, timeout_s=0.5)

    async def main():
        async with AsyncClient(server_url, timeout_s=0.5) as other:
            await other.embed("patient", [LONG] * 3)

    with pytest.raises(DeadlineExceededError):
        asyncio.run(main())
    assert time.monotonic() - started < SOON_S
    assert become_more(client, before)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_in_flight_than_agreed(server_url, concurrency):
    flights = Flights()
    texts = [str(number) for number in range(200)]
    with Client(server_url, concurrency=concurrency, observers=[flights]) as client:
        client.embed("hash", texts)
    assert (flights.count, flights.most, flights.now) == (50, concurrency, 0)

    async def main(flights):
        async with AsyncClient(server_url, concurrency=concurrency, observers=[flights]) as client:
            await client.embed("hash", texts)
        return flights.count, flights.most, flights.now

    assert asyncio.run(main(Flights())) == (50, concurrency, 0)


CLIENTS = 20


def used():
    """Python's threads, all threads, connections and open files of this process."""
    process = psutil.Process()
    return threading.active_count(), process.num_threads(), len(process.net_connections()), process.num_fds()


def left_behind(before):
    """Whether a client leaves something; gRPC has a few threads for all clients, which come and go."""
    return any(now - once >= CLIENTS / 2 for now, once in zip(used(), before, strict=True))


def blocking_calls(url):
    with Client(url) as client:
        client.embed("hash", ["text"] * 9)
        next(client.iter_embed("hash", iter(str, None)))
        next(client.stream("hash", {"text": np.array([["a"]])}))


def awaited_calls(url):
    async def main():
        async with AsyncClient(url) as client:
            await client.embed("hash", ["text"] * 9)
            async for _ in client.iter_embed("hash", iter(str, None)):
                break
            async for _ in client.stream("hash", {"text": np.array([["a"]])}):
                break

    asyncio.run(main())


@pytest.mark.parametrize("calls", [blocking_calls, awaited_calls])
def test_a_closed_client_leaves_no_thread_and_no_connection(server_url, calls):
    for _ in range(2):
        calls(server_url)
    before = used()
    for _ in range(CLIENTS):
        calls(server_url)
    deadline = time.monotonic() + SOON_S
    while left_behind(before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left_behind(before)
