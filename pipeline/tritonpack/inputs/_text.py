"""What the kinds of text input share: rows of token ids, a mask, and token types where the model has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.core.model import ModelTraits, RaggedAxis
from tritonpack.core.tensors import Tensors, TensorSpec
from tritonpack.inputs import InputOptions, Sample

if TYPE_CHECKING:
    from pathlib import Path

_AXIS = "sequence"
_DEFAULT_VOCABULARY = 1000


def text_spec(name: str) -> TensorSpec:
    """A public input of one text a row."""
    return TensorSpec(name, "bytes", ("batch", 1))


class TokenInput:
    """Texts joined into one row of tokens: ``input_ids, attention_mask[, token_type_ids]: (batch, sequence) int64``.

    Subclasses name the texts and say how they are truncated.
    """

    version = 1
    stage = "tokenizer"
    file = "text"
    needs_tokenizer = True
    options: type[InputOptions]
    public: tuple[TensorSpec, ...]
    truncation: ClassVar[str]
    details: tuple[TensorSpec, ...] = (
        TensorSpec("offsets", "int32", ("batch", _AXIS, 2)),
        TensorSpec("sequence", "int32", ("batch", _AXIS)),
        TensorSpec("subword", "bool", ("batch", _AXIS)),
        TensorSpec("words", "int32", ("batch", _AXIS)),
    )

    def graph_inputs(self, options: Any, model: ModelTraits) -> list[TensorSpec]:
        """Ids and mask, and token types where the model takes them."""
        del options
        return [TensorSpec(name, "int64", ("batch", _AXIS)) for name in _names(model)]

    def axes(self, options: Any, model: ModelTraits) -> list[RaggedAxis]:
        """Tokens."""
        del options
        pads = {name: model.pad_id if name == "input_ids" else 0 for name in _names(model)}
        return [RaggedAxis(_AXIS, "attention_mask", pads, model.max_length)]

    def parameters(self, options: Any, model: ModelTraits) -> dict[str, str]:
        """How the texts are tokenized; which tensors are wanted is the ensemble's business."""
        del options
        return {
            "texts": ",".join(spec.name for spec in self.public),
            "max_length": str(model.max_length),
            "pad_id": str(model.pad_id),
            "truncation": self.truncation,
            "truncation_side": model.truncation_side,
            **({"needs_token": "true"} if model.needs_token else {}),
        }

    def rows_per_request(self, options: Any) -> int:
        """One row of tokens a row of texts."""
        del options
        return 1

    def sample(self, rng: np.random.Generator, batch: int, length: int, options: Any, model: ModelTraits) -> Sample:
        """Random ids; where there are token types, the second text begins anywhere."""
        del options
        lengths = row_lengths(rng, batch, length)
        inputs = random_tokens(rng, lengths, length, model)
        if model.token_types:
            begins = rng.integers(0, length + 1, size=batch)
            second = np.arange(length)[None, :] >= begins[:, None]
            inputs["token_type_ids"] = np.where(inputs["attention_mask"] == 1, second, 0).astype(np.int64)
        return Sample(inputs, {_AXIS: lengths})

    def requests_from_file(self, file: Path) -> list[Tensors]:
        """One request a line; several texts are separated by tabulators."""
        return requests_from_lines(file, [spec.name for spec in self.public])


def row_lengths(rng: np.random.Generator, batch: int, length: int) -> Any:
    """True lengths of rows: the first full, the others anything from 1 on, so that padding is always there."""
    lengths = rng.integers(1, length + 1, size=batch, dtype=np.int64)
    lengths[0] = length
    return lengths


def random_tokens(rng: np.random.Generator, lengths: Any, width: int, model: ModelTraits) -> Tensors:
    """``input_ids, attention_mask: (batch, width) int64`` with rows of these lengths."""
    vocabulary = model.config.get("vocab_size") or _DEFAULT_VOCABULARY
    mask = (np.arange(width)[None, :] < lengths[:, None]).astype(np.int64)
    ids = rng.integers(0, vocabulary, size=mask.shape, dtype=np.int64)
    return {"input_ids": np.where(mask == 1, ids, model.pad_id), "attention_mask": mask}


def requests_from_lines(file: Path, names: list[str]) -> list[Tensors]:
    """Read requests of one row, ``(1, 1)`` bytes by name.

    Raises:
        SourceError: the file isn't UTF-8, or a line has another number of columns.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} isn't UTF-8: {error}", hint="Save it in UTF-8, a row a line.") from error
    requests = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        columns = [line.strip()] if len(names) == 1 else line.split("\t")
        if len(columns) != len(names):
            raise SourceError(
                f"{file}, line {number}: {len(columns)} columns, but the input takes {len(names)}: {', '.join(names)}",
                hint="Put the texts of a row in one line, separated by tabulators.",
            )
        requests.append(
            {name: np.array([[text.encode()]], dtype=object) for name, text in zip(names, columns, strict=True)}
        )
    return requests


def _names(model: ModelTraits) -> list[str]:
    return ["input_ids", "attention_mask", *(["token_type_ids"] if model.token_types else [])]
