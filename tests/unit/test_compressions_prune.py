from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_lessons import family_module, lesson, rows

from tritonpack.compressions import COMPRESSIONS
from tritonpack.core.errors import RecipeError

PRUNE = COMPRESSIONS.get("prune")
RECOVERY = {"steps": 6, "batch": 6, "rate": 1e-3}


def pruned(module, batches=(), **options):
    """A pruned copy and what was said of it."""
    student = copy.deepcopy(module)
    chosen = PRUNE.options(kind="prune", **options)
    return student, PRUNE.train(PRUNE.reshape(student, chosen), chosen, lesson(module, list(batches)))


def matrices(module):
    """Weights of linear layers by name."""
    return {name: part.weight for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)}


def in_layers(module):
    return {name: weight for name, weight in matrices(module).items() if ".layer." in name}


def zeros(weight):
    return float((weight == 0).float().mean())


@pytest.fixture(scope="module")
def bert():
    return family_module("bert", layers=2)


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.95])
def test_each_matrix_loses_its_smallest_weights(bert, sparsity):
    student, facts = pruned(bert, sparsity=sparsity)
    for name, weight in in_layers(student).items():
        before = in_layers(bert)[name]
        assert zeros(weight) == pytest.approx(sparsity, abs=1 / weight.numel())
        gone, kept = before[weight == 0].abs(), before[weight != 0].abs()
        assert not len(gone) or gone.max() <= kept.min()
        assert torch.equal(weight[weight != 0], before[weight != 0])
    assert facts["zeros"] == pytest.approx(sparsity, abs=0.002)
    assert facts["matrices"] == 12


def test_a_global_scope_weighs_the_matrices_against_one_another(bert):
    module = copy.deepcopy(bert)
    with torch.no_grad():
        in_layers(module)["model.encoder.layer.0.attention.self.query"].mul_(0.01)
    student, facts = pruned(module, sparsity=0.5, scope="global")
    shares = {name: zeros(weight) for name, weight in in_layers(student).items()}
    assert shares.pop("model.encoder.layer.0.attention.self.query") == pytest.approx(1, abs=0.02)
    assert max(shares.values()) < 0.6
    assert facts["zeros"] == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("recovery", [{}, RECOVERY])
def test_two_of_every_four_along_the_input_are_zero(bert, recovery):
    student, facts = pruned(bert, rows(), pattern="2:4", **recovery)
    for weight in in_layers(student).values():
        assert torch.equal((weight.reshape(-1, 4) == 0).sum(dim=1), torch.full((weight.numel() // 4,), 2))
    assert facts["zeros"] == 0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_two_of_four_are_those_that_torch_itself_would_choose(bert):
    from torch.ao.pruning import WeightNormSparsifier

    theirs, (ours, _) = copy.deepcopy(bert), pruned(bert, pattern="2:4")
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(theirs, [{"tensor_fqn": f"{name}.weight"} for name in in_layers(bert)])
    sparsifier.step()
    sparsifier.squash_mask()
    for name, weight in in_layers(ours).items():
        assert torch.equal(weight, in_layers(theirs)[name])


def test_gpt2_stores_weights_the_other_way_round():
    module = family_module("gpt2", layers=1)
    student, facts = pruned(module, rows(), pattern="2:4", **RECOVERY)
    weight = student.model.h[0].mlp.c_fc.weight
    assert weight.shape == (16, 64)
    assert torch.equal((weight.T.reshape(-1, 4) == 0).sum(dim=1), torch.full((weight.numel() // 4,), 2))
    assert facts["matrices"] == 4


def test_recovery_keeps_zeros_and_comes_nearer_to_the_dense_model(bert):
    dry, _ = pruned(bert, sparsity=0.7)
    student, facts = pruned(bert, rows(), sparsity=0.7, steps=40, batch=6, rate=3e-3)
    assert facts["losses"]["best"] < 0.8 * facts["losses"]["first"]
    for name, weight in in_layers(dry).items():
        found = in_layers(student)[name]
        assert torch.equal(found == 0, weight == 0)
        assert not torch.equal(found, weight)


def test_zeros_of_an_earlier_step_stay(bert):
    first, _ = pruned(bert, sparsity=0.5)
    second, _ = pruned(first, rows(), sparsity=0.25, **RECOVERY)
    for name, weight in in_layers(first).items():
        assert (in_layers(second)[name][weight == 0] == 0).all()


@pytest.mark.parametrize("recovery", [{}, RECOVERY])
def test_embeddings_pooler_and_head_have_no_zeros(recovery):
    module = family_module("bert", 2, "AutoModelForSequenceClassification", "classification")
    student, _ = pruned(module, rows(), sparsity=0.9, **recovery)
    outside = {name for name in matrices(module) if ".layer." not in name}
    assert outside == {"model.bert.pooler.dense", "model.classifier"}
    for name in outside:
        assert zeros(matrices(student)[name]) == 0
        assert torch.equal(matrices(student)[name], matrices(module)[name]) or recovery
    tables = [part.weight for part in (student, module) for part in [part.model.bert.embeddings.word_embeddings]]
    assert torch.equal(*tables)


def test_a_head_that_is_the_embedding_table_too_is_never_taken():
    module = family_module("bert", 1, "AutoModelForMaskedLM", "fill_mask")
    student, _ = pruned(module, modules=["*"], sparsity=0.5)
    assert zeros(student.model.cls.predictions.decoder.weight) < 0.1
    assert zeros(student.model.cls.predictions.transform.dense.weight) == 0.5


def test_patterns_choose_and_skip(bert):
    student, facts = pruned(bert, modules=["encoder.layer.*.output.dense"], skip=["encoder.layer.1.*"])
    touched = {name for name, weight in matrices(student).items() if zeros(weight)}
    assert touched == {"model.encoder.layer.0.output.dense", "model.encoder.layer.0.attention.output.dense"}
    assert facts["matrices"] == 2


@pytest.mark.parametrize("wrong", [{"modules": ["decoder.*"]}, {"skip": ["nothing"]}, {"skip": ["*"]}])
def test_patterns_that_leave_nothing_are_refused(bert, wrong):
    with pytest.raises(RecipeError, match="no linear layer"):
        pruned(bert, **wrong)


def test_without_layers_the_last_matrix_is_the_head():
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    student, facts = pruned(module)
    assert [zeros(weight) for weight in matrices(student).values()] == [0.5, 0.5, 0]
    assert facts["matrices"] == 2


def test_inputs_that_are_no_multiple_of_four_are_left_out():
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    assert pruned(module, pattern="2:4")[1]["left_out"] == ["0"]
    with pytest.raises(RecipeError, match="multiple of 4"):
        pruned(module, pattern="2:4", modules=["0"])


def test_two_of_four_takes_no_sparsity():
    for wrong in ({"sparsity": 0.7}, {"scope": "global"}):
        with pytest.raises(ValidationError, match=r"leave out sparsity and scope"):
            PRUNE.options(kind="prune", pattern="2:4", **wrong)
    for wrong in ({"sparsity": 0.96}, {"sparsity": -0.1}, {"pattern": "1:4"}, {"modules": []}):
        with pytest.raises(ValidationError):
            PRUNE.options(kind="prune", **wrong)
