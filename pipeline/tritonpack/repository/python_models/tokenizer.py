"""Triton model: texts to token ids. The build copies this file to ``<name>_tokenizer/1/model.py``.

Input ``text``: (rows, 1) BYTES, UTF-8. Outputs ``input_ids`` and ``attention_mask``: (rows, longest row of
that request) INT64. Texts are padded inside a request only; what joins requests of different length is the
encoder's ragged batch. Parameters: ``max_length`` (tokens, special ones included), ``pad_id``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Before the import, which reads it: threads of the tokenizer would take the encoder's cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer


class TritonPythonModel:
    """One instance of the tokenizer."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read ``tokenizer.json`` from the version's folder.

        Args:
            args: Triton's description of the model and this instance.
        """
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        file = Path(args["model_repository"], args["model_version"], "tokenizer.json")
        if not file.is_file():
            raise pb_utils.TritonModelException(f"there is no tokenizer file {file}; build the model again")
        self.name = args["model_name"]
        self.max_length = int(parameters["max_length"])
        self.pad_id = int(parameters.get("pad_id", "0"))
        self.truncated = 0
        self.tokenizer = Tokenizer.from_file(str(file))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Tokenize the texts of all requests in one call, and answer each request."""
        texts: list[str] = []
        spans: list[tuple[int, int] | str] = []
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
            decoded = _decode(rows)
            if isinstance(decoded, str):
                spans.append(decoded)
                continue
            spans.append((len(texts), len(texts) + len(decoded)))
            texts += decoded
        encodings = self.tokenizer.encode_batch_fast(texts) if texts else []
        self._count_truncated(encodings)
        ids = [encoding.ids for encoding in encodings]
        return [_error(span) if isinstance(span, str) else self._response(ids[span[0] : span[1]]) for span in spans]

    def _response(self, ids: list[list[int]]) -> Any:
        longest = max(map(len, ids), default=0)
        if len(ids) == 1:
            input_ids = np.array(ids, np.int64)
            mask = np.ones((1, longest), np.int64)
        else:
            input_ids = np.full((len(ids), longest), self.pad_id, np.int64)
            mask = np.zeros((len(ids), longest), np.int64)
            for row, tokens in enumerate(ids):
                input_ids[row, : len(tokens)] = tokens
                mask[row, : len(tokens)] = 1
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("input_ids", input_ids), pb_utils.Tensor("attention_mask", mask)]
        )

    def _count_truncated(self, encodings: list[Any]) -> None:
        """Say in the server's log how many texts lost their end: their answers know the beginning only."""
        # Overflow is only looked for in encodings as long as the limit: building the list costs time.
        count = sum(1 for encoding in encodings if len(encoding) >= self.max_length and encoding.overflowing)
        if count:
            self.truncated += count
            pb_utils.Logger.log_warn(
                f"{self.name}: {count} of {len(encodings)} texts truncated to {self.max_length} tokens"
                f" ({self.truncated} since start)"
            )


def _decode(rows: Any) -> list[str] | str:
    """Decode the texts of a request, or say which one isn't UTF-8 and where."""
    texts: list[str] = []
    for row, data in enumerate(rows):
        try:
            texts.append(data.decode())
        except UnicodeDecodeError as error:
            return f"text in row {row} isn't valid UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
    return texts


def _error(message: str) -> Any:
    return pb_utils.InferenceResponse([], pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
