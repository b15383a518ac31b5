from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack.core.digest import digest_of_file, digest_of_files, digest_of_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def test_a_files_digest_is_sha256_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest_of_file(path) == hashlib.sha256(b"abc").hexdigest()


def test_a_folders_digest_depends_on_names_and_bytes_alone(tmp_path):
    def digest(root, names):
        for name, data in names.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        return digest_of_files(root, [root / name for name in names])

    first = digest(tmp_path / "1", {"a": b"1", "b/c": b"2"})
    assert digest(tmp_path / "elsewhere", {"b/c": b"2", "a": b"1"}) == first
    assert digest(tmp_path / "3", {"a": b"2", "b/c": b"1"}) != first
    assert digest(tmp_path / "4", {"a": b"1", "b/d": b"2"}) != first


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_order_of_keys_doesnt_count(value):
    assert digest_of_json(dict(reversed(value.items()))) == digest_of_json(value)


@given(JSON, JSON)
def test_values_that_print_differently_have_different_digests(one, other):
    assert (digest_of_json(one) == digest_of_json(other)) == (_typed(one) == _typed(other))


def _typed(value):
    """As JSON sees it: 1, 1.0 and true are three values, -0.0 and 0.0 are two."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return (type(value), repr(value))


def test_nan_has_no_digest():
    with pytest.raises(ValueError, match="Out of range float"):
        digest_of_json({"x": float("nan")})
