"""What a family brings about: models that export, rows that padding doesn't change, values that stay in range.

The table of every family and task is the conformance suite's; here are the cells that needed something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from tritonpack.core.errors import ExportError
from tritonpack.core.tensors import Tensors, TensorSpec
from tritonpack.engines.onnxruntime import ROUNDING
from tritonpack.families import Family, family_of
from tritonpack.inputs import Sample
from tritonpack.precisions import PRECISIONS, Rewriting
from tritonpack.stages.export import Traced, onnx_from_module

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

VOCABULARY = 200
SHAPES = [(1, 1), (4, 1), (1, 6), (5, 11), (3, 40)]
"""(batch, longest row); each batch has rows of several lengths."""
BERT_LIKE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip
XLNET = {"vocab_size": VOCABULARY, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "initializer_range": 0.2}
GPT2 = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2,
    "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
T5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
CELLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "xlnet": ("xlnet", "AutoModel", XLNET),
    "xlnet_classification": ("xlnet", "AutoModelForSequenceClassification", {**XLNET, "num_labels": 3}),
    "xlnet_mean": ("xlnet", "AutoModelForSequenceClassification", {**XLNET, "summary_type": "mean"}),
    "xlnet_first": ("xlnet", "AutoModelForSequenceClassification", {**XLNET, "summary_type": "first"}),
    "t5": ("t5", "AutoModel", T5),
    "gpt2_classification": ("gpt2", "AutoModelForSequenceClassification", {**GPT2, "num_labels": 3}),
    "roberta": ("roberta", "AutoModel", {**BERT_LIKE, "max_position_embeddings": 66}),
    "mpnet": ("mpnet", "AutoModel", {**BERT_LIKE, "max_position_embeddings": 66}),
    "modernbert": (
        "modernbert",
        "AutoModel",
        {**BERT_LIKE, "local_attention": 8, "global_attn_every_n_layers": 2, "pad_token_id": 0},
    ),
}


class Cell(torch.nn.Module):  # type: ignore[misc]
    """A tiny model of one family, as the pipeline would export it."""

    def __init__(self, model_type: str, auto_class: str, options: dict[str, Any]) -> None:
        super().__init__()
        config = transformers.CONFIG_MAPPING[model_type](**options)
        self.config: dict[str, Any] = config.to_dict()
        self.family: Family = family_of(self.config)
        torch.manual_seed(0)
        auto = getattr(transformers, self.family.auto_classes.get(auto_class, auto_class))
        self.model = self.family.adapt(auto.from_config(config).eval())
        self.names = ["input_ids", "attention_mask"]
        if self.family.has_token_types(self.config):
            self.names.append("token_type_ids")

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        output = self.model(**dict(zip(self.names, tensors, strict=True)))
        answer: torch.Tensor = output.last_hidden_state if hasattr(output, "last_hidden_state") else output.logits
        return answer

    def answer(self, inputs: Tensors) -> Any:
        with torch.no_grad():
            return self(*(torch.from_numpy(inputs[name]) for name in self.names)).numpy()

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Sample:
        lengths = rng.integers(1, length + 1, size=batch)
        lengths[0] = length
        column = np.arange(length)[None, :]
        mask = (column < lengths[:, None]).astype(np.int64)
        ids = rng.integers(3, VOCABULARY, size=(batch, length), dtype=np.int64)
        padding = self.config.get("pad_token_id") or 0
        tensors = {
            "input_ids": np.where(mask == 1, ids, padding),
            "attention_mask": mask,
            "token_type_ids": mask * (column >= lengths[:, None] // 2),
        }
        return Sample({name: tensors[name] for name in self.names}, {})

    def export(self, out: Path) -> Path:
        inputs = [TensorSpec(name, "int64", ("batch", "sequence")) for name in self.names]
        one_a_row = self.answer(self.sample(np.random.default_rng(0), 2, 3).inputs).ndim == 2
        axes = ("batch", "d") if one_a_row else ("batch", "sequence", "d")
        traced = Traced(
            self.sample,
            inputs,
            [TensorSpec("logits_output", "float32", axes)],
            dynamic=True,
            length=64,
        )
        onnx_from_module(self.eval(), traced, opset=20, out=out)
        return out


def answered(path: Path, inputs: Tensors) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def rounded_answers(path: Path, inputs: Tensors) -> Any:
    """As a GPU gives them, on which FP16 overflows."""
    return ROUNDING.open(path).run(inputs)["logits_output"]


@pytest.mark.parametrize("name", CELLS)
def test_a_padded_row_is_answered_like_the_row_alone(name: str) -> None:
    cell = Cell(*CELLS[name])
    inputs = cell.sample(np.random.default_rng(1), 6, 40).inputs
    padded = cell.answer(inputs)
    for row, length in enumerate(inputs["attention_mask"].sum(axis=1)):
        alone = cell.answer({key: array[row : row + 1, :length] for key, array in inputs.items()})[0]
        kept = padded[row, :length] if padded.ndim == 3 else padded[row]
        np.testing.assert_allclose(kept, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["xlnet", "t5", "gpt2_classification", "modernbert"])
def test_the_graph_answers_like_the_model_whatever_the_shape(name: str, tmp_path: Path) -> None:
    cell = Cell(*CELLS[name])
    path = cell.export(tmp_path / "model.onnx")
    rng = np.random.default_rng(2)
    for batch, length in SHAPES:
        inputs = cell.sample(rng, batch, length).inputs
        np.testing.assert_allclose(answered(path, inputs), cell.answer(inputs), rtol=0, atol=1e-5)


def test_fp16_keeps_indices_and_angles_of_positions_exact(tmp_path: Path) -> None:
    cell = Cell(*CELLS["mpnet"])
    exported, half = cell.export(tmp_path / "model.onnx"), tmp_path / "half.onnx"
    PRECISIONS.get("fp16").rewrite(exported, half, Rewriting())
    inputs = cell.sample(np.random.default_rng(3), 1, 60).inputs
    expected, actual = answered(exported, inputs)[0], rounded_answers(half, inputs)[0]
    # FP16 has eleven bits; a position in another bucket would be off by 0.1 and more.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.02)


def test_fp16_keeps_the_modules_that_leave_its_range(tmp_path: Path) -> None:
    cell = Cell(*CELLS["t5"])
    with torch.no_grad():
        for name, weights in cell.model.named_parameters():
            if name.endswith("wo.weight"):
                weights.mul_(1e5)
    exported = cell.export(tmp_path / "model.onnx")
    inputs = cell.sample(np.random.default_rng(4), 2, 12).inputs
    expected = answered(exported, inputs)
    errors = {}
    for keep in ((), cell.family.fp32_modules):
        half = tmp_path / "half.onnx"
        PRECISIONS.get("fp16").rewrite(exported, half, Rewriting(fp32_modules=keep))
        errors[keep] = np.abs(rounded_answers(half, inputs) - expected).max()
    assert not errors[()] < 0.5  # it may also be NaN
    assert errors[cell.family.fp32_modules] < 0.02


class Attention(torch.nn.Module):  # type: ignore[misc]
    """A module that the exporter can't take."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.kind == "nonzero":
            chosen = torch.nonzero(values[0].sum(dim=-1) > 0)
            return values * 2 if len(chosen) > 1 else values
        if self.kind == "item":
            return values * 2 if values.sum().item() > 0 else values
        return torch.linalg.eigvals(values.transpose(1, 2) @ values).real[:, None]


class Encoder(torch.nn.Module):  # type: ignore[misc]
    """Two layers, the second of which can't be exported."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, 4)
        self.layer = torch.nn.ModuleList(
            torch.nn.ModuleDict({"attention": part}) for part in (torch.nn.Identity(), Attention(kind))
        )

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.embedding(tensors[0])
        for layer in self.layer:
            values = layer["attention"](values)
        return values


@pytest.mark.parametrize(
    ("kind", "operator"),
    [("nonzero", "aten.nonzero.default"), ("item", "aten.item.default"), ("eigen", "aten.linalg_eig.default")],
)
def test_an_error_names_the_operator_and_the_module(kind: str, operator: str, tmp_path: Path) -> None:
    def sample(rng: np.random.Generator, batch: int, length: int) -> Sample:
        return Sample({"input_ids": rng.integers(0, VOCABULARY, size=(batch, length))}, {})

    inputs = [TensorSpec("input_ids", "int64", ("batch", "sequence"))]
    outputs = [TensorSpec("logits_output", "float32", ("batch", "sequence", 4))]
    traced = Traced(sample, inputs, outputs, dynamic=True, length=64)
    with pytest.raises(ExportError, match=f"{operator} in layer.1.attention: ") as raised:
        onnx_from_module(Encoder(kind).eval(), traced, opset=20, out=tmp_path / "model.onnx")
    assert raised.value.context == {"operator": operator, "module": "layer.1.attention"}
    assert __file__ in raised.value.hint
