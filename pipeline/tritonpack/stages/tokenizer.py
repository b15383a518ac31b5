"""The tokenizer as it is served: what `transformers` makes of the model's files, as one ``tokenizer.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import MissingExtraError, SourceError
from tritonpack.sources._quiet import transformers_quietly
from tritonpack.sources._tokenizers import declared_tokens, mask_token_id, tokenizer_files

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts

VERSION = 3

# A class may do more in Python than its Rust part knows; these show it, for each is treated in its own way by some
# kind of tokenizer: case, accents, spaces, digits, scripts without spaces, characters outside the vocabulary.
_PROBES = ("Hello  World, it's 10:45!", " naïve\tcafé\n", "你好,世界", "สวัสดี שלום مرحبا", "👩‍👩‍👧 <s> [SEP] </s>", "")
_SAVE_FAST = (
    "Serve a checkpoint that has a tokenizer.json, or write one whose ids are the same: with the tokenizers library,"
    " saved by PreTrainedTokenizerFast(tokenizer_object=...).save_pretrained(DIR)."
)


def tokenizer_from_directory(
    directory: Path, config: dict[str, Any], out: Path, *, trust_remote_code: bool = False
) -> Facts:
    """Write the tokenizer that ``AutoTokenizer.from_pretrained(directory)`` is, without padding or truncation.

    Args:
        directory: holds the tokenizer's files, in any form that `transformers` reads.
        config: the model's configuration; of interest are ``pad_token_id`` and ``vocab_size``.
        out: the ``tokenizer.json`` to write.
        trust_remote_code: run tokenizer code that comes with the directory.

    Returns:
        ``tokenizer_class``; ``vocabulary``, the number of tokens, and ``max_token_id``; ``pad_id``, ``pad_type_id``,
        ``mask_token_id`` and ``unk_token_id`` (the latter None if there is none); ``truncation_side``;
        ``model_input_names``, what `transformers` gives the model; ``split_special_tokens``, whether special tokens
        written out in a text are ordinary text.

    Raises:
        SourceError: the files don't read, make no tokenizer that runs outside Python, or one with more tokens than
            the model has embeddings.
        MissingExtraError: converting the files takes a package that isn't installed.
    """
    tokenizer_files(directory)
    plain = not (directory / "config.json").is_file() and not (directory / "tokenizer_config.json").is_file()
    if plain and (directory / "tokenizer.json").is_file():
        served, facts = _from_file(directory)
    else:
        served, facts = _from_transformers(directory, trust_remote_code=trust_remote_code)
    served.no_padding()
    served.no_truncation()
    served = _within_embeddings(served, directory, config)
    tokens = served.get_vocab(with_added_tokens=True)
    greatest = max(tokens.values(), default=-1)
    given = config.get("pad_token_id")
    pad = given if isinstance(given, int) and given >= 0 else facts["pad_id"]
    # What _within_embeddings took out is no longer there to be masked with.
    mask = facts["mask_token_id"] if (facts["mask_token_id"] or 0) <= greatest else None
    out.write_text(served.to_str(), encoding="utf-8")
    return {
        **facts,
        "vocabulary": len(tokens),
        "max_token_id": greatest,
        "pad_id": pad if pad is not None else 0,
        "mask_token_id": mask,
    }


def _from_file(directory: Path) -> tuple[Any, Facts]:
    """A ``tokenizer.json`` with nothing beside it that would change it."""
    tokenizer = _read(directory / "tokenizer.json")
    padding = tokenizer.padding or {"pad_id": None, "pad_type_id": 0}
    truncation = tokenizer.truncation or {"direction": "right"}
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model.get("unk_token")
    return tokenizer, {
        "tokenizer_class": type(tokenizer).__name__,
        "pad_id": padding["pad_id"],
        "pad_type_id": padding["pad_type_id"],
        "mask_token_id": mask_token_id(directory),
        "unk_token_id": tokenizer.token_to_id(unknown) if unknown else model.get("unk_id"),
        "truncation_side": truncation["direction"],
        "model_input_names": ["input_ids", "attention_mask"],
        "split_special_tokens": False,
    }


def _read(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises plain Exception
        raise SourceError(f"{path} isn't a tokenizer: {error}", hint="Save it again with save_pretrained().") from error


def _from_transformers(directory: Path, *, trust_remote_code: bool) -> tuple[Any, Facts]:
    """The Rust part of the tokenizer that `transformers` builds, once it has proved to be the whole."""
    from tokenizers import Tokenizer

    if (directory / "tokenizer.json").is_file():
        _read(directory / "tokenizer.json")  # transformers says less of what is wrong with it
    elif any(directory.glob("*.model")):
        _check_sentencepiece()
    with transformers_quietly():
        loaded = _loaded(directory, trust_remote_code=trust_remote_code)
        name = type(loaded).__name__
        backend = getattr(loaded, "backend_tokenizer", None)
        if backend is None:
            raise SourceError(
                f"the tokenizer of {directory} ({name}) is Python code, which isn't run at serving;"
                f" transformers has no fast form of it",
                hint=_SAVE_FAST,
            )
        try:
            served = Tokenizer.from_str(backend.to_str())
        except Exception as error:  # the Rust library raises plain Exception
            raise SourceError(
                f"the tokenizer of {directory} ({name}) holds parts in Python, which aren't run at serving: {error}",
                hint=_SAVE_FAST,
            ) from error
        if "token_type_ids" not in loaded.model_input_names:
            served = _without_types(served)
        served.encode_special_tokens = backend.encode_special_tokens
        _check_equal(loaded, served, directory)
        return served, {
            "tokenizer_class": name,
            "pad_id": loaded.pad_token_id,
            "pad_type_id": loaded.pad_token_type_id,
            "mask_token_id": loaded.mask_token_id,
            "unk_token_id": loaded.unk_token_id,
            "truncation_side": loaded.truncation_side,
            "model_input_names": list(loaded.model_input_names),
            "split_special_tokens": bool(backend.encode_special_tokens),
        }


def _without_types(tokenizer: Any) -> Any:
    """The same tokenizer with token type 0 throughout, where `transformers` gives the model none.

    A model that is given no types takes them all for 0; the file's template may say others.
    """
    from tokenizers import Tokenizer

    def zeroed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: 0 if key == "type_id" else zeroed(item) for key, item in value.items()}
        return [zeroed(item) for item in value] if isinstance(value, list) else value

    document = json.loads(tokenizer.to_str())
    document["post_processor"] = zeroed(document["post_processor"])
    return Tokenizer.from_str(json.dumps(document))


def _check_sentencepiece() -> None:
    """Without it `transformers` reads a SentencePiece model as one of another kind, and says what that one lacks."""
    try:
        import sentencepiece.sentencepiece_model_pb2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("sentencepiece isn't installed", hint="pip install 'tritonpack[build]'") from error
    except Exception as error:  # protobuf's own: releases that don't go together
        raise MissingExtraError(
            f"sentencepiece doesn't go with the installed protobuf: {error}",
            hint="pip install 'sentencepiece<0.2.3', which takes protobuf 5 and later",
        ) from error


def _loaded(directory: Path, *, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # of every kind: it depends on the tokenizer's class, and may come from Rust
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise SourceError(
            f"transformers can't load the tokenizer of {directory}: {lines[0]}",
            hint="Are its files whole? tokenizer_config.json (tokenizer_class) or config.json (model_type) says the"
            " class; code that comes with it runs only with trust_remote_code: true.",
        ) from error


def _check_equal(loaded: Any, served: Any, directory: Path) -> None:
    """Compare what is served with the class it comes from, alone and in pairs.

    Raises:
        SourceError: they differ: the class does more than its Rust part.
    """
    served.no_padding()
    served.no_truncation()
    pairs = list(zip(_PROBES, reversed(_PROBES), strict=True))
    try:
        expected = [loaded(list(_PROBES)), loaded(*map(list, zip(*pairs, strict=True)))]
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise SourceError(
            f"the tokenizer of {directory} ({type(loaded).__name__}) takes more than text: {error}", hint=_SAVE_FAST
        ) from error
    found = [served.encode_batch(list(_PROBES)), served.encode_batch(pairs)]
    ids = [[encoding.ids for encoding in batch] for batch in found]
    types = [[encoding.type_ids for encoding in batch] for batch in found]
    if [batch["input_ids"] for batch in expected] != ids or (
        "token_type_ids" in loaded.model_input_names and [batch["token_type_ids"] for batch in expected] != types
    ):
        raise SourceError(
            f"the tokenizer of {directory} ({type(loaded).__name__}) changes texts or ids in Python, which isn't run"
            f" at serving",
            hint=_SAVE_FAST,
        )


def _within_embeddings(served: Any, directory: Path, config: dict[str, Any]) -> Any:
    """The tokenizer without tokens that no file names and the model has no embedding for.

    `transformers` adds the special tokens that a class is used to have, say ``[MASK]``, also to models that were made
    without them; a text that holds one would make PyTorch fail and the engine read past its embeddings.

    Raises:
        SourceError: tokens that the files do name are too many.
    """
    from tokenizers import Tokenizer

    rows = config.get("vocab_size")
    if not isinstance(rows, int) or max(served.get_vocab().values(), default=0) < rows:
        return served
    declared = declared_tokens(directory)
    document = json.loads(served.to_str())
    document["added_tokens"] = [
        token for token in document["added_tokens"] if token["id"] < rows or token["content"] in declared
    ]
    encode_special_tokens = served.encode_special_tokens
    served = Tokenizer.from_str(json.dumps(document))
    served.encode_special_tokens = encode_special_tokens
    greatest = max(served.get_vocab().values())
    if greatest >= rows:
        raise SourceError(
            f"the tokenizer's ids go up to {greatest} ('{served.id_to_token(greatest)}'), but the model has embeddings"
            f" for {rows}",
            hint="Tokenizer and model don't belong together.",
        )
    return served
