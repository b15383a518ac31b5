"""Rows that tiny models learn from, and tiny models of several families as a task wraps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.compressions import Lesson
from tritonpack.core.model import ModelTraits
from tritonpack.core.tensors import TensorSpec
from tritonpack.families import family_of
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from tritonpack.core.tensors import Tensors

INPUTS = ("input_ids", "attention_mask")
EMBEDDING = TensorSpec("embedding_output", "float32", ("batch", "dimension"))
VOCABULARY = 60
_BERT = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40, "initializer_range": 0.2, "pad_token_id": 0,
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT,
    "electra": {**_BERT, "embedding_size": 8},
    "deberta-v2": {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "modernbert": {**_BERT, "local_attention": 4, "global_attn_every_n_layers": 2},
    "albert": {**_BERT, "embedding_size": 8},
    "distilbert": {
        "vocab_size": VOCABULARY, "dim": 16, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40,
        "initializer_range": 0.2,
    },
    "gpt2": {
        "vocab_size": VOCABULARY, "n_embd": 16, "n_head": 2, "n_positions": 40, "initializer_range": 0.2,
        "bos_token_id": 1, "eos_token_id": 1,
    },
    "t5": {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2},
    "xlnet": {"vocab_size": VOCABULARY, "d_model": 16, "n_head": 2, "d_inner": 24, "initializer_range": 0.2},
}  # fmt: skip


def family_module(model_type: str, layers: int = 4, auto_class: str = "AutoModel", task: str = "embedding") -> Any:
    """A family's tiny model, its weights from a seed, adapted and wrapped as the pipeline does it."""
    import torch
    import transformers

    config = transformers.CONFIG_MAPPING[model_type](num_hidden_layers=layers, **SHAPES[model_type])
    family, kind = family_of(config.to_dict()), TASKS.get(task)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        auto = getattr(transformers, family.auto_classes.get(auto_class, auto_class))
        model = family.adapt(auto.from_config(config).eval())
    traits = ModelTraits(config=config.to_dict(), max_length=32, mask_token_id=5)
    return kind.wrap(model, list(INPUTS), kind.options(kind=task), traits)


def rows(count: int = 8, seed: int = 0) -> list[Tensors]:
    """Batches of six rows of several lengths."""
    rng = np.random.default_rng(seed)
    batches = []
    for length in rng.integers(4, 16, size=count):
        lengths = rng.integers(2, length + 1, size=6)
        mask = (np.arange(length)[None, :] < lengths[:, None]).astype(np.int64)
        batches.append({"input_ids": rng.integers(6, VOCABULARY, size=mask.shape) * mask, "attention_mask": mask})
    return batches


def lesson(teacher: Any, batches: list[Tensors], *, output: TensorSpec = EMBEDDING) -> Lesson:
    """Those rows, and who teaches."""
    return Lesson(teacher, batches, INPUTS, [output])
