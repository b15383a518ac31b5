from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_lessons import INPUTS, family_module, lesson, rows

from tritonpack.compressions import COMPRESSIONS
from tritonpack.compressions._layers import even_spread, find_layers
from tritonpack.core.errors import RecipeError

DISTILL = COMPRESSIONS.get("distill")
FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert", "gpt2", "t5", "xlnet"]


def options(layers, **more):
    return DISTILL.options(kind="distill", layers=layers, **more)


def reshaped(module, layers, **more):
    return DISTILL.reshape(copy.deepcopy(module), options(layers, **more))


def answer(module, batch):
    with torch.no_grad():
        return module(*(torch.from_numpy(batch[name]) for name in INPUTS))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [1, 2, (0, 1, 3)])
def test_every_family_runs_with_fewer_layers(family, layers):
    module = family_module(family)
    student = reshaped(module, layers)
    kept = layers if isinstance(layers, tuple) else even_spread(4, layers)
    blocks = find_layers(student)
    assert len(blocks) == len(kept)
    for block, number in zip(blocks.blocks, kept, strict=True):
        before = find_layers(module).blocks[number].state_dict()
        assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    for batch in rows(2):
        vectors = answer(student, batch)
        assert vectors.shape == (6, 16)
        assert torch.isfinite(vectors).all()
        assert not torch.equal(vectors, answer(module, batch))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_configuration_of_every_family_counts_the_layers(family):
    student = reshaped(family_module(family), 2)
    configs = [part.config for part in student.modules() if hasattr(part, "config")]
    assert {config.num_hidden_layers for config in configs} == {2}
    assert all(len(getattr(config, "layer_types", None) or [0, 0]) == 2 for config in configs)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns(family):
    teacher = family_module(family)
    student, chosen = reshaped(teacher, 2), options(2, steps=30, batch=6, rate=1e-3)
    facts = DISTILL.train(student, chosen, lesson(teacher, rows()))
    assert facts["losses"]["best"] < facts["losses"]["first"]


def test_layers_are_spread_evenly():
    assert even_spread(6, 3) == (0, 3, 5)
    assert even_spread(12, 6) == (0, 2, 4, 7, 9, 11)
    assert even_spread(12, 4) == (0, 4, 7, 11)
    assert even_spread(6, 1) == (0,)
    for count in range(2, 40):
        for kept in range(2, count):
            spread = even_spread(count, kept)
            assert (spread[0], spread[-1], len(set(spread))) == (0, count - 1, kept)


def test_layers_that_share_weights_are_refused():
    with pytest.raises(RecipeError, match="4 layers share their weights"):
        reshaped(family_module("albert"), 2)


def test_blocks_that_are_one_object_are_refused():
    block = torch.nn.Linear(4, 4)
    with pytest.raises(RecipeError, match="3 layers share their weights"):
        DISTILL.reshape(torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([block] * 3)}), options(1))


def test_the_layer_that_holds_all_positions_has_to_stay():
    with pytest.raises(RecipeError, match=r"relative_attention_bias.* has to stay"):
        reshaped(family_module("t5"), (1, 2))


@pytest.mark.parametrize("layers", [4, 5, (0, 4), (0, 1, 2, 3)])
def test_more_layers_than_there_are_to_spare_are_refused(layers):
    with pytest.raises(RecipeError, match="the model has 4 layers"):
        reshaped(family_module("bert"), layers)


@pytest.mark.parametrize("layers", [0, (), (2, 1), (1, 1), (-1,)])
def test_a_list_of_layers_ascends(layers):
    with pytest.raises(ValidationError):
        options(layers)


def test_a_path_says_where_the_layers_are():
    module = family_module("bert")
    assert len(find_layers(reshaped(module, 1, path="encoder.layer"), "encoder.layer")) == 1
    plain = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
    wrapped = torch.nn.ModuleDict({"body": plain})
    with pytest.raises(RecipeError, match="no list of equal layers"):
        reshaped(wrapped, 1)
    assert list(reshaped(wrapped, (0, 2), path="body").state_dict()) == [
        "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias",
    ]  # fmt: skip
    with pytest.raises(RecipeError, match="0 lists of layers of the model are called 'decoder'") as caught:
        reshaped(module, 1, path="decoder")
    assert "model.encoder.layer" in caught.value.hint


def test_lists_inside_layers_are_no_layers():
    blocks = torch.nn.ModuleList(
        torch.nn.ModuleDict({"experts": torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(8))}) for _ in range(3)
    )
    assert find_layers(torch.nn.ModuleDict({"blocks": blocks})).path == "blocks"


def test_a_plain_module_is_distilled():
    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(60, 8)
            self.blocks = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(4))

        def forward(self, ids, mask):
            hidden = self.table(ids) * mask[:, :, None]
            for block in self.blocks:
                hidden = hidden + torch.tanh(block(hidden))
            return hidden.sum(dim=1)

    torch.manual_seed(0)
    teacher = Residual().eval()
    student, chosen = reshaped(teacher, 2), options(2, steps=30, batch=6, rate=1e-2)
    facts = DISTILL.train(student, chosen, lesson(teacher, rows()))
    assert facts["layers"] == 2
    assert facts["losses"]["best"] < 0.7 * facts["losses"]["first"]
    assert torch.equal(student.table.weight, teacher.table.weight)


def test_the_layers_are_still_those_when_another_list_is_longer_now():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(4))
            self.after = torch.nn.ModuleList(torch.nn.Tanh() for _ in range(3))
            self.table = torch.nn.Embedding(60, 8)

        def forward(self, ids, mask):
            hidden = (self.table(ids) * mask[:, :, None]).sum(dim=1)
            for block in (*self.blocks, *self.after):
                hidden = block(hidden)
            return hidden

    teacher = Two().eval()
    student, chosen = reshaped(teacher, 2), options(2, steps=2, batch=6)
    assert DISTILL.train(student, chosen, lesson(teacher, rows()))["layers"] == 2
    prune = COMPRESSIONS.get("prune")
    assert prune.train(student, prune.options(kind="prune"), lesson(teacher, []))["matrices"] == 2
