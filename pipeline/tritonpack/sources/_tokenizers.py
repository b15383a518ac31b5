"""What a directory's tokenizer is, from its files alone: `transformers` takes seconds to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError
from tritonpack.sources._weights import json_from_file

if TYPE_CHECKING:
    from pathlib import Path

# Versions of one tokenizer for several releases of transformers are called tokenizer.4.0.0.json.
FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
"""Patterns of every file that decides a tokenizer."""

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_MASKS = ("[MASK]", "<mask>")


def tokenizer_files(directory: Path) -> list[Path]:
    """Every file that decides the tokenizer, by name.

    Raises:
        SourceError: there is no vocabulary in any form.
    """
    if not any(True for pattern in _VOCABULARIES for _ in directory.glob(pattern)):
        raise SourceError(
            f"{directory} holds no tokenizer.json, vocab.txt, vocab.json or SentencePiece model",
            hint="Save the tokenizer there: AutoTokenizer.from_pretrained(...).save_pretrained(DIR).",
        )
    return sorted({path for pattern in FILES for path in directory.glob(pattern)})


def mask_token_id(directory: Path) -> int | None:
    """The id of the token that stands for a masked word; None if there is none, or only the tokenizer itself knows."""
    for settings in (_json(directory, "tokenizer_config.json"), _json(directory, "special_tokens_map.json")):
        if "mask_token" in settings:
            content = _content(settings["mask_token"])
            return _ids(directory).get(content) if content else None
    ids = _ids(directory)
    return next((ids[mask] for mask in _MASKS if mask in ids), None)


def truncation_side(directory: Path) -> str:
    """Where the tokenizer cuts what is too long: ``right`` unless its settings say otherwise."""
    return str(_json(directory, "tokenizer_config.json").get("truncation_side", "right"))


def vocabulary_size(directory: Path) -> int | None:
    """One more than the greatest token id: the embeddings it takes. None if only the tokenizer itself knows."""
    return max(_ids(directory).values()) + 1 if _vocabulary(directory) else None


def declared_tokens(directory: Path) -> set[str]:
    """The added and special tokens that the directory's files name."""
    found = {str(token["content"]) for token in _json(directory, "tokenizer.json").get("added_tokens", ())}
    found |= set(_json(directory, "added_tokens.json"))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = _json(directory, name)
        found |= {_content(token) for token in settings.get("added_tokens_decoder", {}).values()}
        for key, value in settings.items():
            if key.endswith("_token"):
                found.add(_content(value))
            elif key.endswith("special_tokens"):
                found |= set(map(_content, value.values() if isinstance(value, dict) else value or ()))
    return found - {""}


def _ids(directory: Path) -> dict[str, int]:
    """Ids by token, as far as the files say them outright."""
    added = {token["content"]: int(token["id"]) for token in _json(directory, "tokenizer.json").get("added_tokens", ())}
    decoder = _json(directory, "tokenizer_config.json").get("added_tokens_decoder", {})
    named = {_content(token): int(index) for index, token in decoder.items()}
    return {**_vocabulary(directory), **added, **_json(directory, "added_tokens.json"), **named}


def _vocabulary(directory: Path) -> dict[str, int]:
    """Ids by token without the added ones, of a SentencePiece model none: they depend on the tokenizer's class."""
    model = _json(directory, "tokenizer.json").get("model")
    vocabulary = model.get("vocab", {}) if isinstance(model, dict) else {}
    if isinstance(vocabulary, list):  # a Unigram model's tokens and scores
        return {token: index for index, (token, _) in enumerate(vocabulary)}
    if not vocabulary and (directory / "vocab.txt").is_file():
        lines = (directory / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return {token.rstrip("\r"): index for index, token in enumerate(lines)}
    return dict(vocabulary or _json(directory, "vocab.json"))


def _content(token: Any) -> str:
    """A token's text, which the files give alone or with its settings."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _json(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    return json_from_file(path) if path.is_file() else {}
