"""What the proxy does to a connection, seen from its client, in front of a server that says what it hears."""

import json
import socket
import socketserver
import threading
import time
from contextlib import contextmanager
from urllib import request
from urllib.error import HTTPError

import psutil
import pytest
from local_server import running_control

OPENER = request.build_opener(request.ProxyHandler({}))


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(self.server.prefix + data)
            if data == b"bye":
                return


@contextmanager
def echoing(prefix=b""):
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, _request, _client_address):
            """A reset is no news here."""

    with Server(("127.0.0.1", 0), Echo) as server:
        server.prefix = prefix
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Proxies:
    """The control, with as few words as tests like."""

    def __init__(self, control):
        self.control = control

    def ask(self, verb, path, **content):
        body = json.dumps(content).encode()
        question = request.Request(self.control + path, body, method=verb)  # noqa: S310 (ours)
        with OPENER.open(question, timeout=10) as answer:
            return json.load(answer)

    def make(self, **faults):
        return self.ask("POST", "/proxies", faults=faults)

    def change(self, proxy, **faults):
        self.ask("PUT", f"/proxies/{proxy['id']}", faults=faults)

    def count(self, proxy, name):
        return self.ask("GET", f"/proxies/{proxy['id']}")[name]


@pytest.fixture(scope="module")
def proxies():
    with echoing() as upstream, running_control(upstream) as control:
        yield Proxies(control)


def connected(proxy):
    host, port = proxy["url"].split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def said(connection, data):
    """What comes back for it."""
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        if not (piece := connection.recv(65536)):
            break
        answer += piece
    return answer


def fate(proxy):
    """What becomes of one connection that says one thing."""
    try:
        with connected(proxy) as connection:
            return said(connection, b"hello").decode()
    except ConnectionResetError:
        return "reset"


def eventually(condition):
    """What is counted may be counted a little later."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_without_faults_all_passes_and_is_counted(proxies):
    proxy = proxies.make()
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        assert said(connection, b"again") == b"again"
        assert proxies.count(proxy, "open") == 1
    assert proxies.count(proxy, "connections") == 1
    assert proxies.count(proxy, "bytes_of_questions") == 10
    assert proxies.count(proxy, "bytes_of_answers") == 10
    assert eventually(lambda: proxies.count(proxy, "open") == 0)


def test_much_data_arrives_whole_though_nobody_reads_for_a_while(proxies):
    data = bytes(range(256)) * 2**16
    with connected(proxies.make()) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        time.sleep(0.3)
        answer = read_exactly(connection, len(data))
        sender.join()
    assert answer == data


def read_exactly(connection, count):
    answer = bytearray()
    while len(answer) < count:
        answer += connection.recv(2**20)
    return bytes(answer)


def test_a_delay_counts_both_ways(proxies):
    with connected(proxies.make(delay_s=0.15)) as connection:
        started = time.monotonic()
        assert said(connection, b"hello") == b"hello"
        assert time.monotonic() - started >= 0.3


def test_an_answer_can_be_delayed_alone(proxies):
    proxy = proxies.make(answer_delay_s=0.2)
    with connected(proxy) as connection:
        started = time.monotonic()
        assert said(connection, b"hello") == b"hello"
        assert time.monotonic() - started >= 0.2


def test_delayed_data_keeps_its_order(proxies):
    with connected(proxies.make(delay_s=0.001, jitter_s=0.02, seed=1)) as connection:
        words = [f"{number:04}".encode() for number in range(200)]
        for word in words:
            connection.sendall(word)
            time.sleep(0.0005)
        assert read_exactly(connection, 800) == b"".join(words)


def test_what_is_delayed_outlives_the_server_s_end(proxies):
    with connected(proxies.make(answer_delay_s=0.2)) as connection:
        connection.sendall(b"bye")
        assert connection.recv(100) == b"bye"
        assert connection.recv(100) == b""


def test_the_first_connections_are_reset_before_an_answer(proxies):
    proxy = proxies.make(reset_connections=2)
    assert [fate(proxy) for _ in range(4)] == ["reset", "reset", "hello", "hello"]
    assert proxies.count(proxy, "resets") == 2


def test_a_reset_waits_for_bytes_of_answers(proxies):
    proxy = proxies.make(reset_connections=1, reset_after_bytes=12)
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        assert said(connection, b"again") == b"again"
        with pytest.raises(ConnectionResetError):
            said(connection, b"third")
    assert fate(proxy) == "hello"


def test_a_reset_waits_for_its_time(proxies):
    proxy = proxies.make(reset_connections=1, reset_after_s=0.3)
    started = time.monotonic()
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert time.monotonic() - started >= 0.25
        assert proxies.count(proxy, "resets") == 1
    assert fate(proxy) == "hello"


def test_a_share_of_connections_is_reset_and_the_same_each_time(proxies):
    fates = [[fate(proxy) for _ in range(60)] for proxy in (proxies.make(reset_share=0.5, seed=7) for _ in range(2))]
    assert fates[0] == fates[1]
    assert 15 < fates[0].count("reset") < 45
    assert fates[0].count("reset") + fates[0].count("hello") == 60


def test_a_share_of_connections_is_delayed(proxies):
    proxy = proxies.make(delay_s=0.2, delay_share=0.5, seed=3)
    times = []
    for _ in range(12):
        started = time.monotonic()
        assert fate(proxy) == "hello"
        times.append(time.monotonic() - started)
    assert 0 < sum(took >= 0.4 for took in times) < 12


def test_a_black_hole_swallows(proxies):
    proxy = proxies.make(black_hole=True)
    with connected(proxy) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            said(connection, b"hello")
        # What was swallowed is missing: the connection can't go on.
        proxies.change(proxy)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert fate(proxy) == "hello"


def test_nobody_listens(proxies):
    proxy = proxies.make(refuse=True)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    proxies.change(proxy)
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        proxies.change(proxy, refuse=True)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)


def test_a_narrow_network(proxies):
    with connected(proxies.make(throttle_bytes_per_s=400_000)) as connection:
        started = time.monotonic()
        connection.sendall(b"x" * 100_000)
        assert read_exactly(connection, 100_000) == b"x" * 100_000
        assert time.monotonic() - started >= 0.25


def test_faults_that_begin_later_meet_open_connections_first(proxies):
    proxy = proxies.make()
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        proxies.change(proxy, reset_connections=1)
        with pytest.raises(ConnectionResetError):
            said(connection, b"again")
    assert fate(proxy) == "hello"


def test_another_server_takes_over():
    with echoing() as upstream, echoing(b">") as other, running_control(upstream) as control:
        proxies = Proxies(control)
        proxy = proxies.make()
        assert fate(proxy) == "hello"
        proxies.ask("PUT", "/upstream", url=other)
        assert fate(proxy) == ">hello"
        proxies.ask("PUT", "/upstream", url="127.0.0.1:1")
        assert fate(proxy) == "reset"
        assert proxies.count(proxy, "upstream_failures") == 1
        proxies.ask("PUT", "/upstream", url=upstream)
        assert fate(proxy) == "hello"


def test_a_removed_proxy_is_gone(proxies):
    proxy = proxies.make()
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        proxies.ask("DELETE", f"/proxies/{proxy['id']}")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    with pytest.raises(HTTPError, match="404"):
        proxies.count(proxy, "open")


@pytest.mark.parametrize(
    ("verb", "path", "content", "status"),
    [
        ("POST", "/proxies", {"faults": {"nosuch": 1}}, 400),
        ("GET", "/nosuch", {}, 404),
        ("PUT", "/upstream", {}, 404),
        ("DELETE", "/proxies/nosuch", {}, 404),
    ],
)
def test_a_request_that_cannot_be_done(proxies, verb, path, content, status):
    with pytest.raises(HTTPError, match=str(status)):
        proxies.ask(verb, path, **content)


def test_many_connections_leave_no_socket():
    before = set(psutil.Process().children())
    with echoing() as upstream, running_control(upstream) as control:
        (process,) = set(psutil.Process().children()) - before
        proxies = Proxies(control)
        proxy = proxies.make(reset_share=0.3, delay_s=0.01, jitter_s=0.01, delay_share=0.3)
        assert {fate(proxy) for _ in range(20)} == {"hello", "reset"}
        assert eventually(lambda: proxies.count(proxy, "open") == 0)
        sockets = process.num_fds()
        threads = [threading.Thread(target=lambda: [fate(proxy) for _ in range(50)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxies.count(proxy, "connections") == 420
        assert eventually(lambda: proxies.count(proxy, "open") == 0)
        assert eventually(lambda: process.num_fds() <= sockets)
