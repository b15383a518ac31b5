"""Golden files lie in `data/`. After a change that means to change them: `UPDATE_GOLDEN=1 pytest tests/golden`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

DATA = Path(__file__).parent / "data"


@pytest.fixture
def golden():
    """Compare a text with a golden file, or write the file when UPDATE_GOLDEN is set."""

    def check(name: str, text: str) -> None:
        path = DATA / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{name} isn't there: UPDATE_GOLDEN=1 pytest tests/golden writes it"
        assert text == path.read_text(encoding="utf-8"), "meant? UPDATE_GOLDEN=1 pytest tests/golden writes it anew"

    return check
