"""What the benchmarks of overload and of endurance share."""

from __future__ import annotations

from tritonpack.loadtest.lengths import parse_lengths, texts_of_lengths
from tritonpack.loadtest.payloads import payloads_from_rows
from tritonpack.loadtest.texts import DEFAULT_TEXTS, texts_from_file

LENGTHS = {"short": "lognormal:5,0.4", "mixed": "lognormal:14,0.75", "paragraphs": "fixed:100"}
"""How many words the texts of a workload have."""


def requests_of(model: str, workload: str) -> list[bytes]:
    """Serialize 512 texts, one a request.

    Args:
        model: an ensemble that takes ``text``.
        workload: a key of `LENGTHS`.
    """
    texts = texts_of_lengths(texts_from_file(DEFAULT_TEXTS), parse_lengths(LENGTHS[workload]))
    return payloads_from_rows(model, [{"text": text} for text in texts])
