"""Lee's 50 news documents and the 1,225 pairs that people rated, as the package gensim ships them.

Source: M. D. Lee, B. Pincombe, M. Welsh, "An empirical evaluation of models of text document
similarity", 2005.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tritonpack.core.digest import digest_of_files, digest_of_json
from tritonpack.core.resources import path_from_location
from tritonpack.evaluation.datasets import DatasetOptions
from tritonpack.evaluation.datasets._examples import examples_from_pairs, finished

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.evaluation import Examples

_FOLDER = "package:gensim/test/test_data"


class LeeOptions(DatasetOptions):
    """No options of its own: the data is what it is."""

    kind: Literal["lee"]


class Lee:
    """Reads gensim's two files."""

    options = LeeOptions

    def digest(self, options: LeeOptions, folder: Path) -> str:
        """Of both files."""
        texts, ratings = _files(folder)
        return digest_of_json({"files": digest_of_files(texts.parent, [texts, ratings]), "rows": options.rows})

    def read(self, options: LeeOptions, folder: Path, inputs: tuple[str, ...]) -> Examples:
        """Each pair once: the upper triangle of the matrix of ratings."""
        texts, ratings = _files(folder)
        documents = texts.read_text(encoding="latin-1").splitlines()
        matrix = np.loadtxt(ratings)
        left, right = np.triu_indices(len(documents), k=1)
        sides = ([documents[place] for place in left], [documents[place] for place in right])
        examples = examples_from_pairs(sides, matrix[left, right].tolist(), inputs, name="lee")
        return finished(examples, options.rows, "lee")


DATASET = Lee()


def _files(folder: Path) -> tuple[Path, Path]:
    return (
        path_from_location(f"{_FOLDER}/lee.cor", folder),
        path_from_location(f"{_FOLDER}/similarities0-1.txt", folder),
    )
