"""Which server is next."""

import random
import threading
from collections import Counter

import pytest

from tritonpack_client.endpoints import Balancer


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def balancer(clock, count=3):
    return Balancer([f"host{number}:1" for number in range(count)], clock)


def pick(servers):
    return servers.pick().place


def test_one_endpoint_is_always_the_next(clock):
    servers = balancer(clock, 1)
    for _ in range(3):
        servers.failed(servers.pick())
        assert pick(servers) == 0
        assert not servers.has_other(servers.endpoints[0])


def test_the_one_with_the_fewest_in_flight_is_next(clock):
    servers = balancer(clock)
    for endpoint, in_flight in zip(servers.endpoints, (3, 1, 2), strict=True):
        endpoint.in_flight = in_flight
    assert [pick(servers) for _ in range(3)].count(1) >= 1
    assert sorted(endpoint.in_flight for endpoint in servers.endpoints) == [3, 3, 3]


def test_where_all_have_as_few_they_take_turns(clock):
    servers = balancer(clock)
    places = []
    for _ in range(9):
        endpoint = servers.pick()
        places.append(endpoint.place)
        servers.answered(endpoint)
    assert Counter(places) == {0: 3, 1: 3, 2: 3}
    assert len(set(places[:3])) == 3


def test_one_that_does_not_answer_is_left_alone_for_a_second(clock):
    servers = balancer(clock, 2)
    gone = servers.pick()
    servers.failed(gone)
    assert servers.has_other(gone)
    assert {pick(servers) for _ in range(5)} == {1 - gone.place}
    clock.now += 1.0
    assert gone.place in {pick(servers) for _ in range(3)}


def test_it_is_left_alone_twice_as_long_each_time_up_to_thirty_seconds(clock):
    servers = balancer(clock, 2)
    gone = servers.endpoints[0]
    lengths = []
    for _ in range(30):
        gone.in_flight += 1
        servers.failed(gone)
        lengths.append(gone.out_until - clock.now)
        clock.now = gone.out_until
    assert lengths == [1, 2, 4, 8, 16] + [30] * 25
    gone.in_flight += 1
    servers.answered(gone)
    gone.in_flight += 1
    servers.failed(gone)
    assert gone.out_until - clock.now == 1


def test_requests_that_fail_together_are_one_failure(clock):
    servers = balancer(clock, 2)
    gone = servers.endpoints[0]
    gone.in_flight = 8
    for _ in range(8):
        servers.failed(gone)
    assert (gone.out_until - clock.now, gone.failures, gone.in_flight) == (1, 1, 0)


def test_one_request_probes_and_the_others_wait_for_what_it_finds(clock):
    servers = balancer(clock, 2)
    gone, other = servers.endpoints
    gone.in_flight += 1
    servers.failed(gone)
    clock.now += 1
    other.in_flight = 50
    picked = [pick(servers) for _ in range(5)]
    assert picked == [0, 1, 1, 1, 1]
    servers.answered(gone)
    assert [pick(servers) for _ in range(5)] == [0] * 5


def test_a_probe_that_is_given_up_says_nothing(clock):
    servers = balancer(clock, 2)
    gone = servers.endpoints[0]
    gone.in_flight += 1
    servers.failed(gone)
    clock.now += 1
    gone.in_flight += 1
    servers.released(gone)
    assert (gone.failures, gone.in_flight) == (1, 0)
    assert pick(servers) in {0, 1}


def test_where_all_are_left_alone_the_first_to_return_is_asked(clock):
    servers = balancer(clock, 3)
    for endpoint in (servers.endpoints[2], servers.endpoints[0], servers.endpoints[1]):
        endpoint.in_flight += 1
        servers.failed(endpoint)
        clock.now += 0.1
    assert {pick(servers) for _ in range(3)} == {2}
    assert not servers.has_other(servers.endpoints[2])


def test_threads_share_endpoints_out_and_leave_none_in_flight():
    servers = Balancer(["a:1", "b:1", "c:1"])

    def work(seed):
        drawn = random.Random(seed)  # noqa: S311 (a test's)
        for _ in range(500):
            endpoint = servers.pick()
            drawn.choice([servers.answered, servers.answered, servers.failed, servers.released])(endpoint)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [endpoint.in_flight for endpoint in servers.endpoints] == [0, 0, 0]
