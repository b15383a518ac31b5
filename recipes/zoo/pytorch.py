"""What PyTorch and the pipelines of `transformers` answer, one row at a time, in FP32."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.sources import SOURCES
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.recipe import Recipe

_LONGEST_ANSWER = 15
_CANDIDATES = 12


def outputs(recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    """The public outputs of each row, ``(1, ...)``, as far as a scorer reads them; see `served.outputs`."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    with torch.no_grad(), _loaded(recipe) as (module, tokenizer):
        return _TASKS[recipe.task.kind](recipe, module, tokenizer, rows)


@contextmanager
def _loaded(recipe: Recipe) -> Iterator[tuple[Any, Any]]:
    import transformers

    source, task = SOURCES.get(recipe.source.kind), TASKS.get(recipe.task.kind)
    located = source.locate(recipe.source, recipe.folder)
    module = source.load(located, recipe.source, auto_class=task.auto_class, optional_weights=task.optional_weights)
    if located.tokenizer_digest is None:
        yield module, None
        return
    with located.tokenizer() as directory:
        if (directory / "config.json").is_file():
            yield module, transformers.AutoTokenizer.from_pretrained(directory)
        else:
            file = str(directory / "tokenizer.json")
            named = {"mask_token": "[MASK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
            has_masks = located.mask_token_id is not None
            yield module, transformers.PreTrainedTokenizerFast(tokenizer_file=file, **(named if has_masks else {}))


def _embeddings(recipe: Recipe, module: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    """The mean of the last layer."""
    names = {"input_ids", "attention_mask"}

    def one(text: str) -> Any:
        encoded = tokenizer(text, truncation=True, max_length=recipe.export.max_length, return_tensors="pt")
        hidden = module(**{name: encoded[name] for name in names}).last_hidden_state
        return {"embedding": hidden.mean(dim=1).numpy()}

    return [one(row["text"]) for row in rows]


def _classes(recipe: Recipe, module: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    """Every label with its score, best first."""
    if tokenizer is None:
        return _classes_of_sound(recipe, module, rows)
    from transformers import pipeline

    classify = pipeline("text-classification", model=module, tokenizer=tokenizer, device="cpu", top_k=None)
    limits = {"truncation": True, "max_length": recipe.export.max_length}
    found = (classify([row], **limits)[0] for row in rows)
    return [_scored([each["label"] for each in row], [each["score"] for each in row]) for row in found]


def _classes_of_sound(recipe: Recipe, module: Any, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    import torch

    config = SOURCES.get(recipe.source.kind).locate(recipe.source, recipe.folder).config
    sounds = (module(torch.from_numpy(row["waveform"])[None])[0].sort(descending=True, stable=True) for row in rows)
    return [_scored([config["id2label"][str(n)] for n in order.tolist()], scores) for scores, order in sounds]


def _scored(labels: Sequence[str], scores: Any) -> Tensors:
    return {"labels": _texts(labels), "scores": np.array(scores, dtype=np.float32)[None]}


def _entities(recipe: Recipe, module: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    """Each entity's kind and place."""
    from transformers import pipeline

    strategy = recipe.task.aggregation
    tag = pipeline(
        "token-classification", model=module, tokenizer=tokenizer, device="cpu", aggregation_strategy=strategy
    )
    found = [tag(row["text"]) for row in rows]
    return [
        {
            "labels": _texts([each["entity_group"] for each in row]),
            **{f"{side}s": np.array([[each[side] for each in row]], dtype=np.int32) for side in ("start", "end")},
            "counts": np.array([[len(row)]], dtype=np.int32),
        }
        for row in found
    ]


def _words(recipe: Recipe, module: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    """The best word for the mask."""
    del recipe
    from transformers import pipeline

    fill = pipeline("fill-mask", model=module, tokenizer=tokenizer, device="cpu", top_k=1)
    return [{"tokens": _texts([fill(row["text"])[0]["token_str"]])} for row in rows]


def _spans(recipe: Recipe, module: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[Tensors]:
    """The best answer in one window, as the pipeline of `transformers` 4 chose it: version 5 has none.

    Of the twelve spans with the greatest product of start and end those of the same words count together.

    Source: https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/pipelines/question_answering.py
    """

    def one(row: Mapping[str, Any]) -> str:
        encoded = tokenizer(row["question"], row["context"], return_tensors="pt")
        if encoded["input_ids"].shape[1] > recipe.export.max_length:
            raise ValueError(f"a context of several windows: {row['context'][:100]}")
        output = module(**encoded)
        inside = [place for place, part in enumerate(encoded.sequence_ids(0)) if part == 1]
        starts, ends = (logits[0, inside].softmax(dim=0).numpy() for logits in (output.start_logits, output.end_logits))
        products = np.tril(np.triu(np.outer(starts, ends)), _LONGEST_ANSWER - 1)
        best = np.argsort(-products, axis=None, kind="stable")[:_CANDIDATES]
        found: dict[str, tuple[str, float]] = {}
        for start, end in zip(*np.unravel_index(best, products.shape), strict=True):
            words = (encoded.token_to_word(inside[token]) for token in (start, end))
            first, last = (encoded.word_to_chars(0, word, sequence_index=1) for word in words)
            text = row["context"][first.start : last.end]
            known, score = found.get(text.lower(), (text, 0.0))
            found[text.lower()] = (known, score + float(products[start, end]))
        return max(found.values(), key=lambda item: item[1])[0]

    return [{"answers": _texts([one(row)])} for row in rows]


def _texts(values: Sequence[str]) -> Any:
    return np.array([[value.encode() for value in values]], dtype=object)


_TASKS = {
    "embedding": _embeddings,
    "classification": _classes,
    "token_classification": _entities,
    "fill_mask": _words,
    "question_answering": _spans,
}
