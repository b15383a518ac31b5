"""Models with real weights: the served answers are those of PyTorch and the pipelines of `transformers`.

What needs a package of requirements/zoo.txt is marked `zoo` and runs with `make zoo`, which installs them; the metric
of every model is held against PyTorch's by recipes/zoo/measure.py there.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from tritonpack.evaluation import Examples
from tritonpack.evaluation.scorers import SCORERS
from tritonpack.recipe import load_recipe
from tritonpack.sources import SOURCES

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes" / "zoo"))

import pytorch
import scores
import served
import smiles
from labelled import intents, reactions
from measures import measures

from tritonpack import build
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack_client import Client

# torch's exporter uses a tree API that its own next release renames.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

ZOO = Path(__file__).parents[2] / "recipes" / "zoo"
NAMES = [path.stem for path in sorted(ZOO.glob("*.yaml"))]
SENTENCES = [
    "The capital of France is [MASK].",
    "[MASK] is the largest ocean.",
    "He was born in [MASK] and moved to London.",
    "A short one [MASK]",
]


@pytest.mark.server
def test_masks_of_a_real_model_are_filled_as_its_pipeline_fills_them(tmp_path):
    recipe = load_recipe(ZOO / "cassette.yaml")
    examples, answers = Examples([{"text": text} for text in SENTENCES], None), SCORERS.get("fill_mask").answers
    build(recipe, ["cpu_fp32"], repository=tmp_path / "models")
    with start(ServerOptions(tmp_path / "models", *free_ports())) as server, Client(server.grpc_url) as client:
        found = answers(served.outputs(client, recipe, examples))
    assert found == answers(pytorch.outputs(recipe, examples.rows))


def test_every_recipe_is_measured_and_has_an_fp32_target():
    recipes = {name: load_recipe(ZOO / f"{name}.yaml") for name in NAMES}
    # What a compressed model answers isn't what PyTorch does: it is measured by precision.py, against its gate.
    compressed = {name for name, recipe in recipes.items() if recipe.compress}
    assert set(NAMES) == {*measures(), *compressed}
    for name, recipe in recipes.items():
        assert recipe.name == name
        assert (recipe.targets["cpu_fp32"].engine, recipe.targets["cpu_fp32"].precision) == ("onnxruntime", "fp32")


@pytest.mark.zoo
@pytest.mark.parametrize("name", ["rxnmapper", "rxnfp"])
def test_tokenizers_of_reactions_give_what_the_packages_regular_expression_gives(name):
    pattern, words = smiles.pattern_and_vocabulary(name)
    ids = {word: index for index, word in enumerate(words)}
    committed = tokenizers.Tokenizer.from_file(str(smiles.FOLDER / name / "tokenizer.json"))
    assert committed.to_str() == smiles.tokenizer_of(name).to_str()
    rng = np.random.default_rng(3)
    letters = list("CNOclBrnsp()[]=#+-.>>:~@%0123456789|\\/?*$ xZé")
    noise = ["".join(rng.choice(letters, rng.integers(0, 60))) for _ in range(3000)]
    for text in (*reactions.REACTIONS, *(row["text"] for row in reactions.masked_atoms().rows), *noise):
        expected = [ids.get(token, ids["[UNK]"]) for token in re.findall(pattern, text)]
        assert committed.encode(text).ids == [ids["[CLS]"], *expected, ids["[SEP]"]], text


@pytest.mark.zoo
def test_weights_out_of_four_bits_give_what_onnx_runtime_gives():
    """ONNX Runtime runs the package's own file, whose products are of 4-bit weights; maximum error 1e-4 of logits."""
    import onnxruntime
    import torch

    recipe = load_recipe(ZOO / "rampart.yaml")
    source = SOURCES.get(recipe.source.kind)
    located = source.locate(recipe.source, recipe.folder)
    module = source.load(located, recipe.source, auto_class="", optional_weights=())
    ids = np.random.default_rng(5).integers(5, 19000, (2, 40))
    with located.tokenizer() as directory:
        session = onnxruntime.InferenceSession(str(directory / "onnx" / "model_q4.onnx"))
    ones = np.ones_like(ids)
    (expected,) = session.run(None, {"input_ids": ids, "attention_mask": ones, "token_type_ids": 0 * ones})
    with torch.no_grad():
        found = module(input_ids=torch.from_numpy(ids)).logits.numpy()
    assert np.abs(found - expected).max() < 1e-4


def test_sentences_follow_their_templates():
    rng = random.Random(1)  # noqa: S311
    drawn = {intents._sentence("turn [the] (lamp|fan) (on;now)", rng) for _ in range(200)}
    words = [
        f"turn {the}{what} {order}"
        for the in ("", "the ")
        for what in ("lamp", "fan")
        for order in ("on now", "now on")
    ]
    assert drawn == set(words)


def test_scores():
    assert scores.pitch_accuracy(["440.00 Hz", "470.00 Hz"], [445.0, 440.0]) == 0.5
    assert scores.same_in_twos(["a", "a", "a", "b"], None) == 0.5
