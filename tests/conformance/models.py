"""Tiny randomly initialised models of every family, saved as published ones are."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.tokens import TOKENIZERS

if TYPE_CHECKING:
    from pathlib import Path

SEED = 11
_POSITIONS = 64
# The usual 0.02 makes every text alike after two layers; wider weights tell them apart.
_WIDE = {"initializer_range": 0.2}
_BERT_SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": _POSITIONS, **_WIDE,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A family's configuration.

    Args:
        config: the configuration's class.
        fields: what differs from its defaults.
        tokens: fields of the configuration that are ids of the tokenizer -> the tokenizer's name for them.
    """

    config: str
    fields: dict[str, Any]
    tokens: dict[str, str] = field(default_factory=lambda: {"pad_token_id": "pad_token_id"})


_ROBERTA_TOKENS = {"pad_token_id": "pad_token_id", "bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id"}
SHAPES: dict[str, Shape] = {
    "bert": Shape("BertConfig", _BERT_SHAPE),
    "distilbert": Shape(
        "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": _POSITIONS, **_WIDE},
    ),
    # RoBERTa's positions begin after the id of its padding.
    "roberta": Shape("RobertaConfig", {**_BERT_SHAPE, "max_position_embeddings": _POSITIONS + 2}, _ROBERTA_TOKENS),
    "xlm_roberta": Shape(
        "XLMRobertaConfig", {**_BERT_SHAPE, "max_position_embeddings": _POSITIONS + 2}, _ROBERTA_TOKENS
    ),
    "albert": Shape("AlbertConfig", {**_BERT_SHAPE, "embedding_size": 16}, _ROBERTA_TOKENS),
    "electra": Shape("ElectraConfig", {**_BERT_SHAPE, "embedding_size": 16}),
    "deberta_v2": Shape(
        "DebertaV2Config",
        {
            **_BERT_SHAPE, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
            "max_relative_positions": -1, "norm_rel_ebd": "layer_norm", "share_att_key": True,
            "position_biased_input": False, "type_vocab_size": 0, "pooler_hidden_size": 32,
        },
    ),
    # Every second layer sees eight tokens to either side, so that the window matters in these texts.
    "modernbert": Shape(
        "ModernBertConfig",
        {**_BERT_SHAPE, "local_attention": 16, "global_attn_every_n_layers": 2, "classifier_pooling": "mean"},
        {name: name for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
        | {"bos_token_id": "cls_token_id", "eos_token_id": "sep_token_id"},
    ),
    "mpnet": Shape("MPNetConfig", {**_BERT_SHAPE, "max_position_embeddings": _POSITIONS + 2}, _ROBERTA_TOKENS),
    "xlnet": Shape(
        "XLNetConfig", {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, **_WIDE}, _ROBERTA_TOKENS
    ),
    "gpt2": Shape(
        "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": _POSITIONS, **_WIDE}, _ROBERTA_TOKENS
    ),
    "t5": Shape(
        "T5Config",
        {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "relative_attention_num_buckets": 8},
        {"pad_token_id": "pad_token_id", "eos_token_id": "eos_token_id", "decoder_start_token_id": "pad_token_id"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Head:
    """What a model directory carries beside the family's body.

    Args:
        auto_class: the `transformers` class.
        labels: names of the classes.
        problem: ``problem_type`` of the configuration.
    """

    auto_class: str
    labels: tuple[str, ...] = ()
    problem: str | None = None


HEADS: dict[str, Head] = {
    "body": Head("AutoModel"),
    "single": Head(
        "AutoModelForSequenceClassification", ("negative", "neutral", "positive"), "single_label_classification"
    ),
    "multi": Head(
        "AutoModelForSequenceClassification", ("sport", "science", "art", "\u5929\u6c14"), "multi_label_classification"
    ),
    "regression": Head("AutoModelForSequenceClassification", ("stars",), "regression"),
    # As published NLI models and rerankers: nothing says the problem's type.
    "nli": Head("AutoModelForSequenceClassification", ("contradiction", "entailment", "neutral")),
    "rerank": Head("AutoModelForSequenceClassification", ("relevance",)),
    "token": Head("AutoModelForTokenClassification", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")),
    "answer": Head("AutoModelForQuestionAnswering"),
    "mask": Head("AutoModelForMaskedLM"),
    "next": Head("AutoModelForCausalLM"),
}


def write_model(folder: Path, family: str, head: str) -> Path:
    """Write a model directory with its tokenizer, unless it is there, and return it.

    It appears whole: two workers may want the same one at once.
    """
    if folder.is_dir():
        return folder
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    new = folder.with_name(f".{folder.name}-{os.getpid()}")
    new.mkdir(parents=True)
    tokenizer = TOKENIZERS[family]()
    tokenizer.save_pretrained(new)
    carried = HEADS[head]
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = getattr(transformers, carried.auto_class).from_config(_config(family, carried, tokenizer)).eval()
        _spread(model)
    model.save_pretrained(new)
    try:
        new.rename(folder)
    except OSError:  # the other worker was first, and wrote the same
        shutil.rmtree(new)
    return folder


def _config(family: str, head: Head, tokenizer: Any) -> Any:
    import transformers

    shape = SHAPES[family]
    fields = {**shape.fields, "vocab_size": len(tokenizer)}
    fields |= {name: getattr(tokenizer, token) for name, token in shape.tokens.items()}
    if head.labels:
        fields |= {"id2label": dict(enumerate(head.labels)), "label2id": {n: i for i, n in enumerate(head.labels)}}
    if head.problem:
        fields["problem_type"] = head.problem
    return getattr(transformers, shape.config)(**fields)


def _spread(model: Any) -> None:
    """Give biases and norms values of their own: at their initial 0 and 1 a mistake in them wouldn't show."""
    import torch

    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 1:
                base = 1.0 if "Norm" in type(module).__name__ and name == "weight" else 0.0
                parameter.data = base + 0.1 * torch.randn_like(parameter)
