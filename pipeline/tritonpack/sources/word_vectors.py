"""Word vectors in a text file: word2vec's, fastText's or GloVe's format. A text is the vectors of its words."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tritonpack.core.digest import digest_of_file, digest_of_json
from tritonpack.core.errors import SourceError
from tritonpack.core.resources import path_from_location
from tritonpack.sources import Located, SourceOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_VERSION = 1
"""Raised when the module or the tokenizer made of a file would be another."""

_PAD, _UNKNOWN = "[PAD]", "[UNK]"
_HEADER_FIELDS = 2
_MANY = 1000
"""So many ids are tried where the vocabulary's size isn't known."""


class WordVectorsOptions(SourceOptions):
    """The file, and how a text is cut into words."""

    kind: Literal["word_vectors"]
    file: str = Field(
        description="One word and its numbers a line, separated by spaces; a first line `words dimension` (word2vec, "
        "fastText) may be there or not (GloVe). A path beside the recipe, or package:NAME/PATH."
    )
    lowercase: bool = Field(default=True, description="Look words up in lower case.")
    words: int | None = Field(None, ge=1, description="Keep the first so many words of the file; null: all.")


class WordVectors:
    """Reads the file into an embedding; words that it doesn't hold count as nothing."""

    options = WordVectorsOptions

    def locate(self, options: WordVectorsOptions, folder: Path) -> Located:
        """Find the file; but for its beginning, it is read when the model is exported."""
        file = path_from_location(options.file, folder)
        if not file.is_file():
            raise SourceError(f"word vectors {file} aren't there", hint="Correct source.file.", field="source.file")
        parts = {
            "version": _VERSION,
            "file": digest_of_file(file),
            "lowercase": options.lowercase,
            "words": options.words,
        }
        digest = digest_of_json(parts)

        return Located(
            config={"pad_token_id": 0, **_size_of_small(file, options)},
            weights_digest=digest,
            tokenizer=lambda: _tokenizer_directory(file, options),
            tokenizer_digest=digest,
            mask_token_id=None,
            truncation_side="right",
            trust_remote_code=False,
            versions=("torch",),
            handle=file,
        )

    def load(
        self, located: Located, options: WordVectorsOptions, *, auto_class: str, optional_weights: tuple[str, ...]
    ) -> Any:
        """``input_ids, attention_mask: (batch, seq) -> (batch, d)``, the mean over the words that the file holds."""
        del auto_class, optional_weights
        import torch

        vectors = torch.from_numpy(_read(located.handle, options)[1])

        class MeanOfWords(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by the type check
            def __init__(self) -> None:
                super().__init__()
                self.vectors = torch.nn.Embedding.from_pretrained(vectors, padding_idx=0)

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                # 0 pads and 1 is a word that the file doesn't hold.
                known = ((input_ids > 1).to(attention_mask.dtype) * attention_mask).to(vectors.dtype).unsqueeze(-1)
                return (self.vectors(input_ids) * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)

        return MeanOfWords().eval()


SOURCE = WordVectors()


@contextmanager
def _tokenizer_directory(file: Path, options: WordVectorsOptions) -> Iterator[Path]:
    """A folder with a tokenizer of the file's words, for as long as it is open."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel

    words, _ = _read(file, options)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token=_UNKNOWN))
    tokenizer.normalizer = _normalizer(options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    with TemporaryDirectory() as folder:
        tokenizer.save(str(Path(folder, "tokenizer.json")))
        yield Path(folder)


def _size_of_small(file: Path, options: WordVectorsOptions) -> dict[str, int]:
    """``vocab_size`` of a file of few words; of one of many it would take as long as reading it whole."""
    most = min(options.words or _MANY, _MANY)
    words, _ = _read(file, options.model_copy(update={"words": most}))
    return {} if len(words) >= _MANY else {"vocab_size": len(words)}


def _normalizer(options: WordVectorsOptions) -> Any:
    """What becomes of a text, and of the file's words, before they are looked up."""
    from tokenizers import normalizers

    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if options.lowercase else [])])


def _read(file: Path, options: WordVectorsOptions) -> tuple[list[str], NDArray[np.float32]]:
    """Words and vectors ``(words, d)``; the first two are padding and the unknown word, both zeros.

    Raises:
        SourceError: a line isn't a word and as many finite numbers as the first one's, or there is no word.
    """
    normalizer = _normalizer(options)
    rows: dict[str, NDArray[np.float32]] = {}
    dimension = None
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            # From the right: words of a few files hold spaces themselves.
            fields = line.rstrip().split(" ")
            if number == 1 and len(fields) == _HEADER_FIELDS and all(field.isdigit() for field in fields):
                dimension = int(fields[1])
                continue
            dimension = dimension or len(fields) - 1
            word = " ".join(fields[: -dimension or None])
            if dimension < 1 or len(fields) <= dimension or not word:
                raise _bad_line(file, number, f"{len(fields) - 1} numbers where {dimension or 'some'} were expected")
            vector, word = _numbers(fields[-dimension:], file, number), normalizer.normalize_str(word)
            if word not in {_PAD, _UNKNOWN}:  # ours: they count as nothing
                rows.setdefault(word, vector)
            if len(rows) == options.words:
                break
    if not rows:
        raise SourceError(f"{file} holds no word vectors", hint="See source.file for the format.")
    vectors = np.stack(list(rows.values()))
    return [_PAD, _UNKNOWN, *rows], np.concatenate([np.zeros((2, vectors.shape[1]), np.float32), vectors])


def _numbers(fields: list[str], file: Path, line: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(fields, dtype=np.float32)
    except ValueError as error:
        raise _bad_line(file, line, str(error)) from error
    if not np.isfinite(numbers).all():
        raise _bad_line(file, line, f"{fields[int(np.isfinite(numbers).argmin())]} isn't a number that FP32 holds")
    return numbers


def _bad_line(file: Path, line: int, what: str) -> SourceError:
    return SourceError(f"{file}, line {line}: {what}", hint="Each line is a word and its numbers, separated by spaces.")
