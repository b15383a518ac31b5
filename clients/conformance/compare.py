"""Arrays as the cases write them, and whether a result is the expected one."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

TOLERANCE = 1e-5

DTYPES = {
    "BOOL": np.bool_,
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}").type for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}").type for bits in (16, 32, 64)},
    "BYTES": np.object_,
}


def array_from_json(tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Make the array that a case writes; an element of BYTES that is a string stays one."""
    dtype, shape = DTYPES[tensor["datatype"]], tuple(tensor["shape"])
    if "counting" in tensor:
        counted: np.ndarray[Any, Any] = np.arange(math.prod(shape)) % tensor["counting"]
        return counted.astype(dtype).reshape(shape)
    array: np.ndarray[Any, Any] = np.empty(len(tensor["data"]), dtype)
    array[:] = [_element(tensor["datatype"], element) for element in tensor["data"]]
    return array.reshape(shape)


def _element(datatype: str, element: Any) -> Any:
    if datatype == "BYTES":
        return base64.b64decode(element["base64"]) if isinstance(element, dict) else element
    if datatype.startswith("FP"):
        return float(element)
    return bool(element) if datatype == "BOOL" else int(element)


def difference(expected: Any, actual: Any, where: str = "result") -> str:
    """Say what differs first; an empty string if nothing does."""
    if isinstance(expected, dict):
        if "datatype" in expected and "shape" in expected:
            return _array_difference(expected, actual, where)
        return _keys_difference(expected, actual, where)
    if isinstance(expected, list):
        if len(expected) != len(actual):
            return f"{where} has {len(actual)} elements, not {len(expected)}"
        pairs = enumerate(zip(expected, actual, strict=True))
        return next(filter(None, (difference(*pair, f"{where}[{place}]") for place, pair in pairs)), "")
    if isinstance(expected, float) and isinstance(actual, (float, np.floating)):
        same = math.isclose(expected, actual, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    else:
        same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return "" if same else f"{where} is {actual!r}, not {expected!r}"


def _keys_difference(expected: dict[str, Any], actual: Any, where: str) -> str:
    # Outputs come as a mapping, labels and limits as objects; of an object a case may leave keys out.
    if isinstance(actual, dict):
        if set(actual) != set(expected):
            return f"{where} has the keys {sorted(actual)}, not {sorted(expected)}"
        values = actual
    else:
        values = {key: getattr(actual, key, None) for key in expected}
    return next(filter(None, (difference(expected[key], values[key], f"{where}.{key}") for key in expected)), "")


def _array_difference(expected: dict[str, Any], actual: Any, where: str) -> str:
    wanted = array_from_json(expected)
    if not isinstance(actual, np.ndarray) or (actual.dtype, actual.shape) != (wanted.dtype, wanted.shape):
        got = f"{actual.dtype} {actual.shape}" if isinstance(actual, np.ndarray) else type(actual).__name__
        return f"{where} is {got}, not {wanted.dtype} {wanted.shape}"
    if wanted.dtype.kind == "f":
        same = np.isclose(actual, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    elif wanted.dtype.kind == "O":
        flat = [item.encode() if isinstance(item, str) else item for item in wanted.ravel()]
        same = np.array([left == right for left, right in zip(actual.ravel(), flat, strict=True)], bool)
        same = same.reshape(wanted.shape)
    else:
        same = actual == wanted
    if same.all():
        return ""
    place = tuple(int(index) for index in np.argwhere(~same)[0])
    return f"{where}{list(place)} is {actual[place]!r}, not {wanted[place]!r}"
