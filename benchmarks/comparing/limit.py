"""The ceiling: the engine and the tokenizer of a repository in this process, without a server."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from tritonpack.repository.pbtxt import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BATCHES = (8, 16, 32)
_SPIN = ("session.intra_op.spin_duration_us", "20")


class Limit:
    """A model's tokenizer and engine, with the session options that the server gives it.

    Args:
        repository: the model repository.
        model: the ensemble's name.
    """

    def __init__(self, repository: Path, model: str) -> None:
        onnxruntime.set_default_logger_severity(3)
        tokenizer, encoder = (_config_of(repository / f"{model}_{part}") for part in ("tokenizer", "encoder"))
        options = onnxruntime.SessionOptions()
        threads = encoder.parameters.get("intra_op_thread_count")
        # As many as all served instances have together.
        options.intra_op_num_threads = encoder.instance_group[0].count * int(threads.string_value) if threads else 0
        options.add_session_config_entry(*_SPIN)
        self.file = _latest_version(repository / encoder.name) / encoder.default_model_filename
        self._session = onnxruntime.InferenceSession(self.file, options)
        self._wanted = {entry.name for entry in self._session.get_inputs()}
        self.tokenizer = Tokenizer.from_file(str(_latest_version(repository / tokenizer.name) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(int(tokenizer.parameters["max_length"].string_value))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors ``(texts, width)`` of one call."""
        return self._encode(self._ids(texts))

    def throughput(self, texts: Sequence[str]) -> tuple[float, int]:
        """Texts a second, sorted by length, in batches of the size that is best now.

        Returns:
            Texts a second, and the size.
        """
        ordered = sorted(texts, key=lambda text: len(self.tokenizer.encode(text)))
        self._run(ordered[-BATCHES[-1] :], BATCHES[-1])
        seconds = {size: _seconds_of(partial(self._run, ordered, size)) for size in BATCHES}
        best = min(seconds, key=seconds.__getitem__)
        return len(texts) / seconds[best], best

    def single_ms(self, texts: Sequence[str]) -> dict[str, float]:
        """Milliseconds of one text: median and 99th percentile of the whole, medians of its two parts."""
        tokenizer, encoder = [], []
        for text in texts:
            begin = time.perf_counter()
            rows = self._ids([text])
            between = time.perf_counter()
            self._encode(rows)
            tokenizer.append(between - begin)
            encoder.append(time.perf_counter() - between)
        whole = np.add(tokenizer, encoder)
        return {
            "p50_ms": 1000 * float(np.median(whole)),
            "p99_ms": 1000 * float(np.percentile(whole, 99)),
            "tokenizer_ms": 1000 * statistics.median(tokenizer),
            "encoder_ms": 1000 * statistics.median(encoder),
        }

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]

    def _encode(self, rows: list[list[int]]) -> NDArray[np.float32]:
        tokens = np.concatenate(rows).astype(np.int64)
        lengths = [len(row) for row in rows]
        feeds: dict[str, Any] = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
            "sequence_length": np.array(lengths, np.int32)[:, None],
            "longest_sequence": np.zeros(max(lengths), np.float32),
        }
        found: NDArray[np.float32] = self._session.run(
            None, {name: feed for name, feed in feeds.items() if name in self._wanted}
        )[0]
        return found

    def _run(self, texts: Sequence[str], size: int) -> None:
        for begin in range(0, len(texts), size):
            self.embed(texts[begin : begin + size])


def _seconds_of(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _config_of(folder: Path) -> Any:
    return parse((folder / "config.pbtxt").read_text(encoding="utf-8"))


def _latest_version(model: Path) -> Path:
    return max((folder for folder in model.iterdir() if folder.name.isdigit()), key=lambda folder: int(folder.name))
