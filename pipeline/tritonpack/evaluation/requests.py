"""Examples as requests of one row, and whether calibration saw what evaluation asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples

_MOST_SHARED = 0.1
"""Some texts are common, e.g. a headline; a tenth of them isn't chance."""


def requests_from_examples(examples: Examples, names: Sequence[str]) -> list[Tensors]:
    """What an application would send, one request a row.

    Args:
        examples: rows.
        names: the public inputs to send.

    Returns:
        Texts as ``(1, 1) bytes``, arrays as ``(1, ...)``, by name.
    """
    return [{name: _tensor(row[name]) for name in names} for row in examples.rows]


def check_leakage(calibration_rows: Sequence[Mapping[str, Any]], examples: Examples) -> None:
    """Refuse a calibration set that holds the evaluation set's rows, by content.

    Args:
        calibration_rows: public inputs by name, as `Examples.rows` have them or as requests of one row.
        examples: the evaluation set.

    Raises:
        SourceError: more than a tenth of the evaluation rows are calibration rows too.
    """
    seen = {_content(row) for row in calibration_rows}
    asked = [_content(row) for row in examples.rows]
    shared = sum(row in seen for row in asked)
    if not asked or shared <= _MOST_SHARED * len(asked):
        return
    same = "the evaluation set itself" if seen == set(asked) else f"{shared / len(asked):.0%} of the evaluation set"
    raise SourceError(
        f"the calibration set holds {same}: {shared} of {len(asked)} evaluation rows are among "
        f"{len(calibration_rows)} calibration rows, so the accuracy would be that of known data",
        hint="Calibrate on other data, e.g. the training texts; at most a tenth of the rows may be the same.",
        field="calibration",
        shared=shared,
        rows=len(asked),
    )


def _tensor(value: Any) -> Any:
    return np.array([[value.encode()]], dtype=object) if isinstance(value, str) else np.asarray(value)[None]


def _content(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((name, _comparable(row[name])) for name in sorted(row))


def _comparable(value: Any) -> Any:
    """The same for a text as for a tensor of it, and for an array as for a batch of one."""
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        first = array.reshape(-1)[0]
        return (first.decode(errors="replace") if isinstance(first, bytes) else str(first)).strip()
    return array.astype(np.float32).tobytes()
