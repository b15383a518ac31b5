"""A client's arguments are checked when it is made, and gRPC is told what they mean."""

import math

import grpc
import pytest

from tritonpack_client import AsyncClient, Client, InvalidInputError, Retries, Tls


@pytest.fixture(params=[Client, AsyncClient])
def kind(request):
    return request.param


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8001", "grpc://host:1", "localhost", "", ":8001", "host:", "host:port", "host:-1"),
        *("host:\N{ARABIC-INDIC DIGIT ONE}", ["a:1", "b"], [], ()),
    ],
)
def test_a_url_is_host_and_port(kind, url):
    with pytest.raises(InvalidInputError, match=r"isn't host:port|one endpoint"):
        kind(url)


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "host:1", "[::1]:8001", ["a:1", "b:2"], ("a:1",)])
def test_urls_that_will_do(kind, url):
    client = kind(url)
    assert client.url == (url if isinstance(url, str) else ", ".join(url))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": -1}, "timeout_s is -1"),
        ({"timeout_s": math.nan}, "timeout_s is nan"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"compression": "brotli"}, "compression is 'brotli'"),
        ({"keepalive_s": 0}, "keepalive_s is 0"),
        ({"shared_memory": True, "url": ["a:1", "b:1"]}, "shared_memory"),
        ({"headers": {"": "x"}}, "''"),
        ({"headers": {"with space": "x"}}, "'with space'"),
        ({"headers": {"grpc-timeout": "1S"}}, "'grpc-timeout'"),
        ({"headers": {"token-bin": "x"}}, "'token-bin'"),
        ({"headers": {"name\n": "x"}}, "headers"),
        ({"headers": {"x": "line\nbreak"}}, "value of 'x'"),
        ({"headers": {"x": "é"}}, "value of 'x'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kind, arguments, words):
    with pytest.raises(InvalidInputError, match=words):
        kind(**arguments)


def test_headers_are_in_lower_case(kind):
    assert kind(headers={"Authorization": "Bearer x"}).options.headers == (("authorization", "Bearer x"),)


def test_a_certificate_has_its_key():
    with pytest.raises(InvalidInputError, match="certificate was given without key"):
        Tls(certificate=b"x")
    with pytest.raises(InvalidInputError, match="key was given without certificate"):
        Tls(key=b"x")


def test_a_key_is_not_shown():
    assert "secret" not in repr(Tls(certificate=b"x", key=b"secret"))


def test_a_file_that_is_not_there_is_named(kind, tmp_path):
    with pytest.raises(InvalidInputError, match=r"ca: .*nosuch\.pem can't be read: No such file"):
        kind(tls=Tls(ca=tmp_path / "nosuch.pem"))


def test_grpc_is_told(kind):
    arguments = dict(kind(keepalive_s=2.5, tls=Tls(server_name="other")).options.channel_arguments)
    assert arguments["grpc.keepalive_time_ms"] == 2500
    assert arguments["grpc.ssl_target_name_override"] == "other"
    # Retries are the client's: two kinds at once would multiply.
    assert arguments["grpc.enable_retries"] == 0
    assert "grpc.keepalive_time_ms" not in dict(kind().options.channel_arguments)


@pytest.mark.parametrize(
    ("name", "value"), [(None, None), ("gzip", grpc.Compression.Gzip), ("deflate", grpc.Compression.Deflate)]
)
def test_compression(kind, name, value):
    assert kind(compression=name).options.grpc_compression == value


def test_a_pause_is_drawn():
    retries = Retries(first_pause_s=2.0, growth=3.0, max_pause_s=4.0)
    assert [retries.pause_s(failed, lambda: 0.25) for failed in (1, 2, 3)] == [0.5, 1.0, 1.0]
    assert all(0 <= retries.pause_s(2) <= 4 for _ in range(100))
