"""The bytes of HTTP/2 that the generator writes and reads."""

import pytest

from tritonpack.loadtest import wire


def test_headers_are_written_as_hpack_says():
    first, following = wire.header_blocks("h:1", "/a/b", 2.0)
    assert first.startswith(b"\x83\x86\x44\x04/a/b\x41\x03h:1\x5f\x10application/grpc\x40\x02te\x08trailers")
    assert first.endswith(b"\x40\x0cgrpc-timeout\x052000m")
    assert following == b"\x83\x86" + bytes((0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62))
    plain_first, plain = wire.header_blocks("h:1", "/a/b", 2.0, kept=False)
    assert plain_first == b"\x20" + plain
    assert b"\x0f\x10\x10application/grpc\x00\x02te" in plain


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"\x00\x0bgrpc-status\x010", (0, "")),
        (b"\x00\x0bgrpc-status\x0214\x00\x0cgrpc-message\x05a%20b", (14, "a b")),
        (b"\x00\x0cgrpc-message\x7f\x03" + b"m" * 130 + b"\x00\x0bgrpc-status\x013", (3, "m" * 130)),
        (b"\x88\x8c", (2, wire.UNREADABLE)),
    ],
)
def test_trailers_are_read(block, status):
    assert wire.status_from_trailers(block) == status
