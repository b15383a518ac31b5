"""News of the Australian Broadcasting Corporation: 293 documents without labels, for calibration and agreement.

Lee's background documents, as the package gensim ships them; none of them is one of Lee's 50 rated documents.
"""

from __future__ import annotations

import re
from pathlib import Path

from labelled import Labelled
from tritonpack.core.resources import path_from_location

_FILE = "package:gensim/test/test_data/lee_background.cor"
_END = re.compile(r"(?<=[.!?]) +(?=[A-Z\"])")
_SHORTEST, _LONGEST = 40, 300
_TEST = 3


def documents() -> Labelled:
    """Each document once."""
    return Labelled([{"text": text} for text in _documents()], None)


def sentences(*, test: bool) -> Labelled:
    """Sentences of every third document for the test, of the others else; none is in both.

    Args:
        test: which of them.
    """
    sides: tuple[dict[str, None], dict[str, None]] = ({}, {})
    for number, text in enumerate(_documents()):
        fitting = (part.strip() for part in _END.split(text))
        side = sides[number % _TEST == _TEST - 1]
        side.update(dict.fromkeys(part for part in fitting if _SHORTEST <= len(part) <= _LONGEST))
    others, kept = sides if test else sides[::-1]
    return Labelled([{"text": text} for text in kept if text not in others], None)


def _documents() -> list[str]:
    lines = path_from_location(_FILE, Path.cwd()).read_text(encoding="latin-1").split("\n")
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
