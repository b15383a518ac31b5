from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_lessons import EMBEDDING, INPUTS, family_module, rows

from tritonpack.compressions import COMPRESSIONS, Lesson
from tritonpack.compressions._losses import OutputLoss, mean_square
from tritonpack.compressions._training import trained
from tritonpack.core.errors import CompressionError
from tritonpack.core.tensors import TensorSpec
from tritonpack.stages.compress import load_compressed, weights_from_compression

LEARNING = {"steps": 4, "batch": 6, "rate": 1e-3}
SCORES = TensorSpec("logits_output", "float32", ("batch", 3))
PLACES = TensorSpec("start_output", "float32", ("batch", "sequence"))
TOKENS = TensorSpec("logits_output", "float32", ("batch", "sequence", 3))
WORDS = TensorSpec("logits_output", "float32", ("batch", 4, "vocabulary"))


def step(kind, **options):
    return COMPRESSIONS.get(kind), COMPRESSIONS.get(kind).options(kind=kind, **options)


def compress(module, teacher, chosen, out, batches=None, output=EMBEDDING, **more):
    batches = rows() if batches is None else batches
    return weights_from_compression(module, teacher, *chosen, batches, INPUTS, [output], out=out, **more)


@pytest.fixture
def bert():
    return family_module("bert")


def test_steps_build_on_one_another(bert, tmp_path):
    steps = [step("distill", layers=2, **LEARNING), step("prune", pattern="2:4", **LEARNING)]
    first = compress(copy.deepcopy(bert), bert, steps[0], tmp_path / "first")
    student = load_compressed(copy.deepcopy(bert), steps[:1], tmp_path / "first")
    second = compress(student, bert, steps[1], tmp_path / "second")
    last = load_compressed(copy.deepcopy(bert), steps, tmp_path / "second")
    assert first["parameters_after"] == second["parameters_before"] == second["parameters_after"]
    assert first["parameters_after"] < first["parameters_before"]
    weight = last.model.encoder.layer[1].intermediate.dense.weight
    assert torch.equal((weight.reshape(-1, 4) == 0).sum(dim=1), torch.full((weight.numel() // 4,), 2))
    assert second["zero_share"] == pytest.approx(
        second["zeros"] * second["weights"] / second["parameters_after"], abs=0.01
    )
    assert "seconds" not in first


def test_before_the_first_step_the_module_is_as_it_was_loaded(bert):
    state = {name: value.clone() for name, value in bert.state_dict().items()}
    loaded = load_compressed(bert, [], None)
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def test_a_shared_weight_is_written_once_and_stays_shared(tmp_path):
    module = family_module("bert", 2, "AutoModelForMaskedLM", "fill_mask")
    batches = [{**batch, "input_ids": np.where(batch["input_ids"] % 4 == 1, 5, batch["input_ids"])} for batch in rows()]
    chosen = step("prune", sparsity=0.5, **LEARNING)
    compress(copy.deepcopy(module), module, chosen, tmp_path / "weights", batches, WORDS)
    state = load_file(tmp_path / "weights")
    tied = [name for name in state if state[name].shape == module.model.get_input_embeddings().weight.shape]
    assert tied == ["model.bert.embeddings.word_embeddings.weight"]
    loaded = load_compressed(copy.deepcopy(module), [chosen], tmp_path / "weights").model
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_weights_of_another_model_are_refused(bert, tmp_path):
    chosen = step("distill", layers=2, steps=0)
    compress(copy.deepcopy(bert), bert, chosen, tmp_path / "weights")
    with pytest.raises(CompressionError, match="don't fit the model"):
        load_compressed(copy.deepcopy(bert), [step("distill", layers=3, steps=0)], tmp_path / "weights")
    state = load_file(tmp_path / "weights")
    save_file({**state, "more": torch.zeros(1)}, tmp_path / "weights")
    with pytest.raises(CompressionError, match=r"more is \(1,\), the model has none"):
        load_compressed(copy.deepcopy(bert), [chosen], tmp_path / "weights")


def test_a_seed_decides_the_bytes(bert, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, seed in (("one", 0), ("two", 0), ("other", 1)):
            chosen = step("distill", layers=2, seed=seed, **LEARNING)
            compress(copy.deepcopy(bert), bert, chosen, tmp_path / name)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() != (tmp_path / "other").read_bytes()


def test_progress_is_told(bert, tmp_path):
    told = []
    chosen = step("distill", layers=2, **LEARNING)
    compress(copy.deepcopy(bert), bert, chosen, tmp_path / "weights", progress=lambda *news: told.append(news))
    assert [news[:2] for news in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(loss > 0 for *_, loss in told)


def test_a_loss_that_is_no_number_stops_the_training():
    class Exploding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = torch.nn.Parameter(torch.zeros(1, 4))

        def forward(self, ids, mask):
            return torch.exp(mask.sum(dim=1, keepdim=True) * (ids.sum(dim=1, keepdim=True) * self.slope).square())

    teacher = Exploding()
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.slope.add_(1e-5)
    chosen = COMPRESSIONS.get("prune").options(kind="prune", steps=20, rate=1.0)
    with pytest.raises(CompressionError, match=r"the loss is (nan|inf) at step \d+: training at rate 1 ") as caught:
        trained(student, Lesson(teacher, rows(), INPUTS, [EMBEDDING]), chosen, steps=20)
    assert "rate: 0.1" in caught.value.hint
    assert caught.value.exit_code == 4


def test_weights_that_are_no_numbers_are_not_blamed_on_the_rate(bert, tmp_path):
    student = copy.deepcopy(bert)
    with torch.no_grad():
        student.model.encoder.layer[0].output.dense.weight.mul_(float("inf"))
    with pytest.raises(CompressionError, match="the loss is nan before the first step") as caught:
        compress(student, bert, step("distill", layers=2, **LEARNING), tmp_path / "weights")
    assert "uncompressed" in caught.value.hint
    assert not (tmp_path / "weights").exists()


def test_too_few_rows_and_rows_without_an_answer_are_refused(bert, tmp_path):
    with pytest.raises(CompressionError, match="1 batches of rows are too few"):
        compress(copy.deepcopy(bert), bert, step("distill", layers=2, **LEARNING), tmp_path / "w", rows(1))
    masks = family_module("bert", 2, "AutoModelForMaskedLM", "fill_mask")
    with pytest.raises(CompressionError, match="nothing to learn") as caught:
        compress(copy.deepcopy(masks), masks, step("prune", **LEARNING), tmp_path / "w", rows(), WORDS)
    assert "mask token" in caught.value.hint


def test_the_best_weights_on_held_out_rows_are_kept(bert, tmp_path):
    wild = step("prune", sparsity=0.3, steps=20, batch=6, rate=1.0)
    student = copy.deepcopy(bert)
    facts = compress(student, bert, wild, tmp_path / "wild")
    assert facts["losses"]["last"] > facts["losses"]["first"] == facts["losses"]["best"]
    assert facts["best_step"] == 0
    dry = copy.deepcopy(bert)
    compress(dry, bert, step("prune", sparsity=0.3), tmp_path / "dry")
    assert (tmp_path / "wild").read_bytes() == (tmp_path / "dry").read_bytes()


@pytest.mark.parametrize(
    "spec", [EMBEDDING, SCORES, PLACES, TOKENS, WORDS], ids=lambda spec: spec.name + str(spec.shape)
)
def test_a_loss_is_zero_for_the_teachers_own_answer_alone(spec):
    torch.manual_seed(0)
    sizes = {"batch": 2, "sequence": 5, "dimension": 8, "vocabulary": 7}
    teacher = torch.randn([sizes.get(axis, axis) for axis in spec.shape])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    loss = OutputLoss(spec, mean_square(spec, [(teacher, mask)]), 2.0)
    assert float(loss(teacher.clone(), teacher, mask)) == pytest.approx(0, abs=1e-6)
    assert float(loss(teacher + 1, teacher, mask)) > 0.01
    assert float(loss(-teacher, teacher, mask)) > 0.5
    if "sequence" in spec.shape:
        padded = teacher.clone()
        padded[1, 2:] = 100.0
        assert float(loss(padded, teacher, mask)) == pytest.approx(0, abs=1e-6)
        assert mean_square(spec, [(padded, mask)]) == pytest.approx(mean_square(spec, [(teacher, mask)]))


def test_a_single_number_is_compared_by_value():
    spec = TensorSpec("logits_output", "float32", ("batch", 1))
    loss = OutputLoss(spec, 4.0, 2.0)
    assert float(loss(torch.tensor([[3.0], [1.0]]), torch.tensor([[1.0], [1.0]]), None)) == pytest.approx(0.5)
