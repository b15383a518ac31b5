"""A cell of every task, of every kind of tokenizer and of every kind of input; `make conformance` has them all."""

from __future__ import annotations

import pytest

from conformance.cells import cells
from conformance.runner import Runner

pytestmark = [pytest.mark.server, pytest.mark.slow]
SUBSET = (
    "bert_nli",
    "distilbert_entities",
    "roberta_mask",
    "albert_multi",
    "electra_answers",
    "xlnet_mean",
    "gpt2_next",
    "t5_mean",
    "bilstm_matcher_match",
    "sound_classifier_any_length",
    "glove_mean",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    chosen = [cell for cell in cells() if cell.name in SUBSET]
    runner = Runner(tmp_path_factory.mktemp("conformance"), targets=("cpu",))
    return {result.cell.name: result for result in runner.run(chosen)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SUBSET)
def test_the_served_answers_are_the_references(results, name):
    result = results[name]
    assert result.problem == ""
    assert result.served.measured.worst <= 1
    assert result.served.rows_per_batch > 1


def test_the_table_has_every_family_and_head_once():
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names)
    heads = {(cell.family, cell.head) for cell in cells()}
    encoders = {"bert", "distilbert", "roberta", "xlm_roberta", "albert", "electra", "deberta_v2", "modernbert",
                "mpnet", "xlnet"}  # fmt: skip
    each = {"mean", "single", "multi", "regression", "entities", "answers", "nli", "rerank"}
    wanted = {(family, head) for family in encoders for head in each}
    wanted |= {(family, "mask") for family in encoders - {"xlnet"}}
    wanted |= {
        ("bert", "cls"),
        ("bert", "last"),
        ("gpt2", "single"),
        ("gpt2", "last"),
        ("gpt2", "next"),
        ("t5", "mean"),
    }
    assert wanted <= heads
