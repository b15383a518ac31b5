"""A BERT of two small layers, made in code: the same bytes every time, no download."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

WORDS = (
    "the", "a", "an", "how", "do", "i", "deploy", "model", "neural", "network", "cat", "sat", "on", "mat", "dog", "ran",
    "over", "hill", "server", "sends", "answer", "text", "longer", "than", "one", "word", "and", "shorter", "two",
    "three", "four", "five", "six", "seven", "eight", "nine", "ten", "red", "green", "blue", "small", "large", "quick",
)  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
POSITIONS = 64
HIDDEN = 32

TARGETS: dict[str, dict[str, Any]] = {
    "fp32": {"engine": "onnxruntime", "precision": "fp32"},
    "fp16": {"engine": "onnxruntime", "precision": "fp16"},
    "int8_dynamic": {"engine": "onnxruntime", "precision": "int8_dynamic"},
    "int8": {"engine": "onnxruntime", "precision": "int8"},
    "rtx_fp32": {"engine": "tensorrt_rtx", "precision": "fp32"},
    "rtx_fp16": {"engine": "tensorrt_rtx", "precision": "fp16"},
    "rtx_int8": {"engine": "tensorrt_rtx", "precision": "int8"},
}


def vocabulary() -> list[str]:
    """About two hundred tokens: special ones, words, and letters with their continuations."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    words = [word for word in dict.fromkeys(WORDS) if len(word) > 1]
    return [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]


def write_tokenizer(folder: Path) -> Path:
    """Write ``tokenizer.json`` and return its path."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    words = {token: index for index, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))  # noqa: S106  not a password
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    # As many published tokenizers do; the build has to take both out.
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=16)  # noqa: S106  not a password
    tokenizer.enable_truncation(16)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def tiny_config(**changes: Any) -> Any:
    """Two layers of 32, with other fields changed."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        # The usual 0.02 makes every sentence alike after pooling; wider weights tell them apart.
        initializer_range=0.2,
        **changes,
    )


def tiny_model(auto_class: str = "AutoModel", seed: int = 0, **changes: Any) -> Any:
    """The model with the head of a `transformers` class, its weights from a seed."""
    import torch
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, auto_class).from_config(tiny_config(**changes)).eval()


def write_bert(folder: Path, auto_class: str = "AutoModel", seed: int = 0, **changes: Any) -> Path:
    """Write the model as a Hugging Face directory and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tiny_model(auto_class, seed, **changes).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def text_of(row: int) -> str:
    """A text of 1 to 29 words; those of the first 1247 rows all differ."""
    return " ".join(WORDS[(7 * row + i) % len(WORDS)] for i in range(1 + row % 29))


def write_texts(folder: Path, rows: int = 96) -> Path:
    """Write calibration texts of several lengths, the first so many of `text_of`."""
    path = folder / "texts.txt"
    path.write_text("\n".join(map(text_of, range(rows))), encoding="utf-8")
    return path


def accuracy_gate(folder: Path, max_drop: float = 0.05) -> dict[str, Any]:
    """A recipe's accuracy gate on pairs of texts that are none of the calibration's, rated by the words they share."""
    pairs = []
    for number in range(40):
        sides = text_of(200 + number), text_of(300 + 2 * number)
        left, right = (set(side.split()) for side in sides)
        pairs.append({"left": sides[0], "right": sides[1], "rating": round(len(left & right) / len(left | right), 3)})
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    return {"dataset": {"kind": "rated_pairs", "file": str(path)}, "max_drop": max_drop}


def unlabelled(folder: Path) -> dict[str, Any]:
    """A data set of texts that are none of the calibration's, and nobody labelled."""
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": text_of(row)}) for row in range(500, 520)), encoding="utf-8")
    return {"kind": "labelled", "file": str(path), "label": None}


def recipe_document(model: Path, texts: Path, gates: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A recipe of every target, as data; so small a model gains nothing, so nothing has to pay."""
    return {
        "name": "tiny",
        "source": {"kind": "huggingface", "model": str(model)},
        "task": {"kind": "embedding"},
        "export": {"max_length": 48},
        "targets": TARGETS,
        "calibration": {"file": str(texts), "samples": 64},
        "serving": {"max_batch": 8, "threads": 1},
        "gates": {"min_speedup": None, **(gates or {})},
        **changes,
    }


def write_recipe(path: Path, document: dict[str, Any]) -> Path:
    """Write a recipe document as YAML."""
    path.write_text(yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False), encoding="utf-8")
    return path
