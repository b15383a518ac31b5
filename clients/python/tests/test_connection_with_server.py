"""Connections to a real Triton: TLS, mutual TLS, credentials in headers, compression, keepalive."""

import asyncio
import datetime as dt
import ipaddress
from dataclasses import dataclass

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tritonpack_client import AccessDeniedError, AsyncClient, Client, InvalidInputError, ServerUnavailableError, Tls

pytestmark = pytest.mark.server


@dataclass
class Identity:
    """A certificate and its key."""

    x509: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def certificate(self):
        return self.x509.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self):
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self.private.private_bytes(encoding, form, serialization.NoEncryption())


def identity(common_name, authority=None, *names):
    """Make one, signed by an authority or by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    private = ec.generate_private_key(ec.SECP256R1())
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    builder = (
        x509.CertificateBuilder(name if authority is None else authority.x509.subject, name, private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Identity(builder.sign(authority.private if authority else private, hashes.SHA256()), private)


AUTHORITY, OTHER = identity("authority"), identity("other authority")
SERVER = identity("server", AUTHORITY, x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
CALLER, STRANGER = identity("caller", AUTHORITY), identity("stranger", OTHER)
TRUSTING = Tls(ca=AUTHORITY.certificate)


@pytest.fixture(scope="module")
def tls_arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    files = {"ca.crt": AUTHORITY.certificate, "server.crt": SERVER.certificate, "server.key": SERVER.key}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [
        "--grpc-use-ssl=1",
        f"--grpc-server-cert={folder / 'server.crt'}",
        f"--grpc-server-key={folder / 'server.key'}",
        f"--grpc-root-cert={folder / 'ca.crt'}",
    ]


@pytest.fixture(scope="module")
def tls_url(start_server, tls_arguments):
    with start_server(*tls_arguments) as server:
        yield server.grpc_url


@pytest.fixture(scope="module")
def mutual_url(start_server, tls_arguments):
    with start_server(*tls_arguments, "--grpc-use-ssl-mutual=1") as server:
        yield server.grpc_url


@pytest.fixture(scope="module")
def restricted_url(start_server):
    more = ["--grpc-infer-response-compression-level=high", "--grpc-http2-min-recv-ping-interval-without-data=100"]
    restricted = "--grpc-restricted-protocol=inference,model-config:secret=open sesame"
    with start_server(restricted, *more, models=("hash", "moods")) as server:
        yield server.grpc_url


def embed(url, **arguments):
    """Both clients do the same."""
    with Client(url, **arguments) as client:
        vectors = client.embed("hash", ["text"])

    async def again():
        async with AsyncClient(url, **arguments) as client:
            return await client.embed("hash", ["text"])

    np.testing.assert_array_equal(asyncio.run(again()), vectors)
    return vectors


def test_an_encrypted_connection(tls_url, tmp_path):
    assert embed(tls_url, tls=TRUSTING).shape == (1, 8)
    assert embed(f"localhost:{tls_url.rpartition(':')[2]}", tls=TRUSTING).shape == (1, 8)
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    assert embed(tls_url, tls=Tls(ca=tmp_path / "ca.crt", server_name="localhost")).shape == (1, 8)


@pytest.mark.parametrize(
    ("tls", "hint"),
    [
        (Tls(ca=OTHER.certificate), r"Tls\(ca=...\)"),
        (Tls(), r"Tls\(ca=...\)"),
        (Tls(ca=AUTHORITY.certificate, server_name="elsewhere"), r"Tls\(server_name=...\)"),
    ],
    ids=["another authority", "the system's authorities", "another name"],
)
def test_a_certificate_that_is_not_trusted_is_said_at_once(tls_url, tls, hint):
    with pytest.raises(AccessDeniedError, match=rf"attempt 1 of 5.*{hint}"):
        embed(tls_url, tls=tls)
    # Waiting would not help.
    with Client(tls_url, tls=tls) as client, pytest.raises(AccessDeniedError, match=hint):
        client.wait_ready(60)


def test_both_sides_must_speak_of_the_same(tls_url, restricted_url):
    with pytest.raises(ServerUnavailableError, match="it wants TLS"):
        embed(tls_url)
    with pytest.raises(ServerUnavailableError, match="leave out tls"):
        embed(restricted_url, tls=TRUSTING)


def test_a_server_may_want_to_know_who_calls(mutual_url):
    caller = Tls(ca=AUTHORITY.certificate, certificate=CALLER.certificate, key=CALLER.key)
    assert embed(mutual_url, tls=caller).shape == (1, 8)


@pytest.mark.parametrize(
    "tls",
    [TRUSTING, Tls(ca=AUTHORITY.certificate, certificate=STRANGER.certificate, key=STRANGER.key)],
    ids=["nobody", "a stranger"],
)
def test_whom_the_server_does_not_know_gets_nothing(mutual_url, tls):
    with pytest.raises(ServerUnavailableError, match="a client's certificate"):
        embed(mutual_url, tls=tls)


def test_a_key_is_not_shown_and_does_not_come_alone():
    assert "PRIVATE" not in repr(Tls(certificate=CALLER.certificate, key=CALLER.key))
    with pytest.raises(InvalidInputError, match="key was given without certificate"):
        Tls(key=CALLER.key)
    with pytest.raises(InvalidInputError, match="can't be read"):
        Client(tls=Tls(ca="/nowhere/ca.crt"))


@pytest.mark.parametrize("headers", [None, {"triton-grpc-protocol-secret": "guess"}])
def test_a_restricted_protocol_wants_its_header(restricted_url, headers):
    with pytest.raises(AccessDeniedError, match=r"attempt 1 of 5.*headers="):
        embed(restricted_url, headers=headers)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_credentials_and_compression(restricted_url, compression):
    headers = {"Triton-GRPC-Protocol-Secret": "open sesame"}
    plain = embed(restricted_url, headers=headers)
    np.testing.assert_array_equal(embed(restricted_url, headers=headers, compression=compression), plain)


def test_a_connection_with_a_request_in_flight_is_kept_alive(restricted_url):
    headers = {"Triton-GRPC-Protocol-Secret": "open sesame"}
    with Client(restricted_url, headers=headers, keepalive_s=0.15) as client:
        assert len(client.embed("moods", ["sleep:1.5"])) == 1
