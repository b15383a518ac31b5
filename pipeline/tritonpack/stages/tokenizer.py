"""The tokenizer as it is served: the model's ``tokenizer.json`` without padding or truncation of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts

VERSION = 1


def tokenizer_from_file(source: Path, config: dict[str, Any], out: Path) -> Facts:
    """Prepare a tokenizer: the server truncates and pads as the recipe says, not as the file did.

    Returns:
        ``pad_id`` and ``vocabulary``, the number of tokens.

    Raises:
        SourceError: the file isn't a tokenizer, or has more tokens than the model has embeddings.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(source))
    except Exception as error:  # the Rust library raises plain Exception
        raise SourceError(
            f"{source} isn't a tokenizer: {error}", hint="Save it again with save_pretrained()."
        ) from error
    pad_id = _pad_id(tokenizer, config, source)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    rows = config.get("vocab_size")
    if rows and vocabulary > rows:
        raise SourceError(
            f"the tokenizer knows {vocabulary} tokens, but the model has embeddings for {rows}",
            hint="Tokenizer and model don't belong together.",
        )
    out.write_text(tokenizer.to_str(), encoding="utf-8")
    return {"pad_id": pad_id, "vocabulary": vocabulary}


def _pad_id(tokenizer: Any, config: dict[str, Any], source: Path) -> int:
    """From the model's configuration, the tokenizer's padding, or the token the tokenizer's settings name."""
    if isinstance(config.get("pad_token_id"), int):
        return int(config["pad_token_id"])
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    settings = source.parent / "tokenizer_config.json"
    if settings.is_file():
        token = json.loads(settings.read_text(encoding="utf-8")).get("pad_token")
        text = token.get("content") if isinstance(token, dict) else token
        found = tokenizer.token_to_id(text) if text else None
        if found is not None:
            return int(found)
    return 0
