"""Texts to the graph's inputs: one text, two in one row, two apart, or a question and windows of its context.

Truncation, windows and special tokens are put together here, from encodings without either, and follow
`transformers`' fast tokenizers token by token. The tokenizer's own truncation isn't used: it builds everything it
cuts off, of a pair every combination of both texts' parts, so that one request of two long texts would take all
memory; and of texts it can't shorten it fails the whole batch. One thing differs: a token has the same place in every
window, while byte-level tokenizers that trim places with add_prefix_space let a later window begin with the space.

Parameters: ``texts`` (names of the inputs, joined by commas), ``outputs`` (the wanted ones, likewise), ``max_length``
(tokens, special ones included), ``pad_id``, ``pad_type_id``, ``unk_id``, ``truncation`` (``longest_first``,
``only_first``, ``only_second``), ``truncation_side``, ``apart`` (``true``: two texts in rows of their own),
``stride`` (tokens that neighbouring windows share; absent: no windows), ``max_windows`` (of one row), ``windows_of``
(the text that they are of; absent: the second),
``split_special_tokens`` (``true``: special tokens written out in a text are ordinary text), ``needs_token``
(``true``: a row without any token is refused).
"""

from __future__ import annotations

import itertools
import os
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Threads of the tokenizer would take the encoder's cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

_SPECIAL = -1
_IDS = ("input_ids", "attention_mask", "token_type_ids")
_PLACES = ("offsets", "sequence", "subword", "words")
_STRATEGIES = ("longest_first", "only_first", "only_second")
_PAIR = 2

Span = tuple[int, int]
"""Tokens of one text: [start, end)."""

Row = list[tuple[str, Any]]
"""The texts of one row, each with its encoding, without special tokens."""

Cut = tuple[int, list[Span]]
"""What one row of the answer holds: the request's row, and a span of each of its texts."""


class Stage:
    """One instance of the tokenizer."""

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        """Read ``tokenizer.json`` from the version's ``folder``.

        Raises:
            ValueError: there is no tokenizer, or the parameters don't fit it or each other.
        """
        file = Path(folder, "tokenizer.json")
        if not file.is_file():
            raise ValueError(f"there is no tokenizer file {file}; build the model again")
        self.notices: list[str] = []
        self.truncated = 0
        self.tokenizer: Any = Tokenizer.from_file(str(file))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = parameters.get("split_special_tokens") == "true"
        self.texts = parameters["texts"].split(",")
        self.outputs = parameters["outputs"].split(",")
        self.apart = parameters.get("apart") == "true"
        self.max_length = int(parameters["max_length"])
        self.pad_id = int(parameters.get("pad_id", "0"))
        self.pad_type_id = int(parameters.get("pad_type_id", "0"))
        self.needs_token = parameters.get("needs_token") == "true"
        self.unk_id = int(parameters.get("unk_id", "-1"))
        self.truncation = parameters.get("truncation", "longest_first")
        self.from_left = parameters.get("truncation_side", "right") == "left"
        self.stride = int(parameters["stride"]) if "stride" in parameters else None
        self.long = self.texts.index(parameters["windows_of"]) if "windows_of" in parameters else 1
        self.max_windows = int(parameters["max_windows"]) if "max_windows" in parameters else None
        self.template = Template(self.tokenizer, pair=len(self.texts) == _PAIR and not self.apart)
        self.room = self.max_length - self.template.special
        self._check()
        self.names = [name for name in self.outputs if name in _IDS or name in _PLACES]
        # What most models take of most requests has a shorter way: it is felt with one short text a request.
        self.plain = self.template.texts == 1 and not self.apart and {*self.names} == {"input_ids", "attention_mask"}
        with_places = not set(_PLACES).isdisjoint(self.outputs)
        self.encode = self.tokenizer.encode_batch if with_places else self.tokenizer.encode_batch_fast
        self.token_lengths = _token_lengths(self.tokenizer) if "subword" in self.outputs else None

    def run(self, requests: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray] | str]:
        """Tokenize the texts ``(rows, 1) bytes`` of all requests in one call, and answer each request.

        Returns:
            For each request its outputs by name, or what is wrong with it.
        """
        decoded = [_decoded(request, self.texts) for request in requests]
        texts = [text for rows in decoded if not isinstance(rows, str) for row in rows for text in row]
        encodings = iter(self.encode(texts, add_special_tokens=False) if texts else ())
        before = self.truncated
        answers = [
            rows if isinstance(rows, str) else self._answer([[(text, next(encodings)) for text in row] for row in rows])
            for rows in decoded
        ]
        if self.truncated > before:
            pairs = self.template.texts == _PAIR
            self.notices.append(
                f"{self.truncated - before} of {len(texts) // self.template.texts} {'pairs' if pairs else 'texts'}"
                f" truncated to {self.max_length} tokens ({self.truncated} since start)"
            )
        return answers

    def _check(self) -> None:
        """Refuse parameters that no text could be served with."""
        known = {f"{side}{name}" for side in ("left_", "right_") for name in _IDS}
        if not self.apart:
            known = {*_IDS, *_PLACES}
            known |= {"row", *map(_of_window, self.texts)} if self.stride is not None else set()
        if unknown := [name for name in self.outputs if name not in known]:
            raise ValueError(f"there is no output {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
        if self.truncation not in _STRATEGIES:
            raise ValueError(f"truncation is one of {', '.join(_STRATEGIES)}, not '{self.truncation}'")
        if self.room < 1:
            raise ValueError(
                f"max_length {self.max_length} leaves no room for text beside {self.template.special} special tokens"
            )
        if self.stride is not None and (self.template.texts != _PAIR or not 0 <= self.stride < self.room):
            raise ValueError(f"windows take a pair of texts and a stride of 0 to {self.room - 1}, not {self.stride}")

    def _answer(self, rows: list[Row]) -> dict[str, np.ndarray] | str:
        """The outputs of one request."""
        if self.needs_token and not self.template.special:
            lengths = [sum(len(encoding) for _, encoding in row) for row in rows]
            if 0 in lengths:
                return f"{self.texts[0]} in row {lengths.index(0)} has no tokens; the model needs one at least"
        if self.plain:
            return self._plain([row[0][1] for row in rows])
        if self.apart:
            return self._halves(rows, 0, "left_") | self._halves(rows, 1, "right_")
        cut: list[Cut] = []
        for number, row in enumerate(rows):
            windows = self._truncated(number, row) if self.stride is None else self._windows(number, row)
            if isinstance(windows, str):
                return windows
            cut += [(number, spans) for spans in windows]
        outputs = self._arrays(rows, cut, self.names)
        if self.stride is not None:
            outputs |= self._of_windows(rows, [number for number, _ in cut])
        return outputs

    def _halves(self, rows: list[Row], text: int, side: str) -> dict[str, np.ndarray]:
        """The outputs of one of two texts that have rows of their own."""
        half = [[row[text]] for row in rows]
        cut = [(number, [self._span(len(encoding))]) for number, [(_, encoding)] in enumerate(half)]
        names = [name.removeprefix(side) for name in self.outputs if name.startswith(side)]
        return {f"{side}{name}": array for name, array in self._arrays(half, cut, names).items()}

    def _plain(self, encodings: list[Any]) -> dict[str, np.ndarray]:
        """Ids and mask of single texts."""
        before, after = self.template.around
        rows = []
        for encoding in encodings:
            ids = encoding.ids
            if len(ids) > self.room:
                ids = ids[slice(*self._span(len(ids)))]
            rows.append([*before, *ids, *after])
        return {"input_ids": _padded(rows, self.pad_id, np.int64), "attention_mask": _mask([*map(len, rows)])}

    def _span(self, length: int) -> Span:
        """What is kept of a text that has its row to itself, of so many tokens."""
        if length <= self.room:
            return (0, length)
        self.truncated += 1
        return self._kept(length, self.room)

    def _kept(self, length: int, keep: int) -> Span:
        return (max(length - keep, 0), length) if self.from_left else (0, min(keep, length))

    def _truncated(self, number: int, row: Row) -> list[list[Span]] | str:
        """What is kept of a row's texts, as the tokenizer's own truncation does it."""
        if self.template.texts == 1:
            return [[self._span(len(row[0][1]))]]
        first, second = (len(encoding) for _, encoding in row)
        if first + second <= self.room:
            return [[(0, first), (0, second)]]
        if self.truncation == "longest_first":
            keep = _longest_first(first, second, self.room)
        else:
            whole = 1 if self.truncation == "only_first" else 0
            length = (first, second)[whole]
            if length >= self.room:
                return self._no_room(number, self.texts[whole], length)
            keep = (self.room - second, second) if whole else (first, self.room - first)
        self.truncated += 1
        return [[self._kept(first, keep[0]), self._kept(second, keep[1])]]

    def _no_room(self, number: int, name: str, length: int) -> str:
        return (
            f"{name} in row {number} has {length} tokens, which leaves too few for the other text:"
            f" a row holds {self.max_length}, {self.template.special} of them special"
        )

    def _windows(self, number: int, row: Row) -> list[list[Span]] | str:
        """Windows over the long text, each beside the whole other one, in the tokenizer's own order."""
        stride, long = self.stride or 0, len(row[self.long][1])
        other = len(row[1 - self.long][1])
        room = self.room - other
        if long > room <= stride:
            return self._no_room(number, self.texts[1 - self.long], other)
        step = room - stride
        count = 1 if long <= room else 1 - (room - long) // step  # a step for each that is still missing an end
        if self.max_windows is not None and count > self.max_windows:
            return (
                f"{self.texts[self.long]} in row {number} takes {count} windows; at most {self.max_windows} are served"
            )
        starts = [max(long - step * n - room, 0) if self.from_left else step * n for n in range(count)]
        ends = [long - step * n if self.from_left else min(step * n + room, long) for n in range(count)]
        spans = [[(0, other), span] for span in zip(starts, ends, strict=True)]
        return spans if self.long else [pair[::-1] for pair in spans]

    def _arrays(self, rows: list[Row], cut: list[Cut], names: list[str]) -> dict[str, np.ndarray]:
        """Outputs ``(windows, longest of the request)``, padded at the end of the row."""
        template, arrays = self.template, {}
        if "input_ids" in names:
            ids = [[encoding.ids for _, encoding in row] for row in rows]
            arrays["input_ids"] = _padded([template.ids(ids[row], spans) for row, spans in cut], self.pad_id, np.int64)
        if "attention_mask" in names:
            arrays["attention_mask"] = _mask([template.length(spans) for _, spans in cut])
        if "token_type_ids" in names:
            types = [template.types(spans) for _, spans in cut]
            arrays["token_type_ids"] = _padded(types, self.pad_type_id, np.int64)

        def places(values: Callable[[str, Any], list[Any]], special: Any) -> list[list[Any]]:
            of_rows = [[values(*text) for text in row] for row in rows]
            return [template.values(of_rows[row], spans, special) for row, spans in cut]

        if "sequence" in names:
            order = (0, 1) if self.long else (1, 0)  # of windows 1 is the long text, wherever it stands
            numbers = [[[n] * len(encoding) for n, (_, encoding) in zip(order, row, strict=False)] for row in rows]
            cut_numbers = [template.values(numbers[row], spans, _SPECIAL) for row, spans in cut]
            arrays["sequence"] = _padded(cut_numbers, _SPECIAL, np.int32)
        if "offsets" in names:
            arrays["offsets"] = _padded(places(lambda _, encoding: encoding.offsets, (0, 0)), 0, np.int32, (2,))
        if "words" in names:
            arrays["words"] = _padded(places(_words, _SPECIAL), _SPECIAL, np.int32)
        if "subword" in names:
            arrays["subword"] = _padded(places(self._subword, False), 0, np.bool_)
        return arrays

    def _subword(self, text: str, encoding: Any) -> list[bool]:
        """Whether each token continues a word: `TokenClassificationPipeline.gather_pre_entities`' rule."""
        if self.token_lengths is None:
            found = [start > 0 and " " not in text[start - 1 : start + 1] for start, _ in encoding.offsets]
            return [flag and token != self.unk_id for flag, token in zip(found, encoding.ids, strict=True)]
        lengths = self.token_lengths
        return [
            lengths[token] != end - start and token != self.unk_id
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def _of_windows(self, rows: list[Row], numbers: list[int]) -> dict[str, np.ndarray]:
        """Each window's row and texts."""
        outputs: dict[str, np.ndarray] = {}
        if "row" in self.outputs:
            outputs["row"] = np.array(numbers, np.int32).reshape(-1, 1)
        for position, name in enumerate(map(_of_window, self.texts)):
            if name in self.outputs:
                column = np.empty((len(numbers), 1), np.object_)
                column[:, 0] = [rows[number][position][0].encode() for number in numbers]
                outputs[name] = column
        return outputs


class Template:
    """The parts of a row, of a pair if so, in order: special tokens and texts, learned from a short text's tokens."""

    def __init__(self, tokenizer: Any, *, pair: bool) -> None:
        word = _word(tokenizer)
        encoding = tokenizer.encode(word, word) if pair else tokenizer.encode(word)
        places = [_SPECIAL if sequence is None else sequence for sequence in encoding.sequence_ids]
        self.parts: list[tuple[int, list[int], list[int]]] = []
        """Of each part the text's number or `_SPECIAL`, the token ids and the token types."""
        for sequence, group in itertools.groupby(
            zip(places, encoding.ids, encoding.type_ids, strict=True), itemgetter(0)
        ):
            tokens = list(group)
            self.parts.append((sequence, [token for _, token, _ in tokens], [kind for _, _, kind in tokens]))
        self.texts = _PAIR if pair else 1
        self.special = places.count(_SPECIAL)
        texts = sorted(sequence for sequence, _, _ in self.parts if sequence != _SPECIAL)
        if texts != list(range(self.texts)) or self.special != tokenizer.num_special_tokens_to_add(pair):
            raise ValueError("the tokenizer's post-processor doesn't give each text once")
        first = next(number for number, (sequence, _, _) in enumerate(self.parts) if sequence != _SPECIAL)
        before, after = self.parts[:first], self.parts[first + 1 :]
        self.around = [[token for _, ids, _ in parts for token in ids] for parts in (before, after)]
        """The special tokens before and after a single text."""

    def length(self, spans: list[Span]) -> int:
        """Tokens of a row."""
        return self.special + sum(end - start for start, end in spans)

    def ids(self, texts: list[list[int]], spans: list[Span]) -> list[int]:
        """A row's token ids."""
        row: list[int] = []
        for sequence, ids, _ in self.parts:
            row += ids if sequence == _SPECIAL else texts[sequence][slice(*spans[sequence])]
        return row

    def values(self, texts: list[list[Any]], spans: list[Span], special: Any) -> list[Any]:
        """A row of what each token of a text has; special tokens have ``special``."""
        row: list[Any] = []
        for sequence, ids, _ in self.parts:
            row += [special] * len(ids) if sequence == _SPECIAL else texts[sequence][slice(*spans[sequence])]
        return row

    def types(self, spans: list[Span]) -> list[int]:
        """A row's token types."""
        row: list[int] = []
        for sequence, _, types in self.parts:
            row += types if sequence == _SPECIAL else types[:1] * (spans[sequence][1] - spans[sequence][0])
        return row


def _of_window(name: str) -> str:
    return f"{name}_of_window"


def _words(_text: str, encoding: Any) -> list[int]:
    """Index of each token's word in its text, as the tokenizer cuts words; `_SPECIAL` for a token of none."""
    return [_SPECIAL if word is None else word for word in encoding.word_ids]


def _word(tokenizer: Any) -> str:
    """A text that the tokenizer has a token for."""
    for text in itertools.chain("aA1一", tokenizer.get_vocab()):
        if tokenizer.encode(text, add_special_tokens=False).ids:
            return str(text)
    raise ValueError("the tokenizer gives no tokens for any text")


def _token_lengths(tokenizer: Any) -> list[int] | None:
    """Characters of each token, by id, if the tokenizer marks those that continue a word."""
    if not getattr(tokenizer.model, "continuing_subword_prefix", None):
        return None
    return [len(tokenizer.id_to_token(token) or "") for token in range(max(tokenizer.get_vocab().values()) + 1)]


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens kept of either text: the shorter stays whole where it takes less than half."""
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (short, long) if first <= second else (long, short)


def _decoded(request: dict[str, np.ndarray], names: list[str]) -> list[tuple[str, ...]] | str:
    """The texts of each row, or which one isn't UTF-8 and where."""
    columns = []
    for name in names:
        column = []
        for row, data in enumerate(request[name].reshape(-1).tolist()):
            try:
                column.append(data.decode())
            except UnicodeDecodeError as error:
                return f"{name} in row {row} isn't valid UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        columns.append(column)
    if len(columns) == 1:
        return [(text,) for text in columns[0]]
    if len({len(column) for column in columns}) > 1:
        counts = " and ".join(f"{len(column)} of {name}" for name, column in zip(names, columns, strict=True))
        return f"there are {counts}; each row takes one of each"
    return list(zip(*columns, strict=True))


def _longest(lengths: list[int]) -> int:
    """How wide rows are: texts without a token give one that is masked, since no model takes rows of nothing."""
    return max(1, *lengths) if lengths else 0


def _mask(lengths: list[int]) -> np.ndarray:
    """Ones at the beginning of each row, as many as it is long: ``(rows, longest) int64``."""
    longest = _longest(lengths)
    if longest == min(lengths, default=0):
        return np.ones((len(lengths), longest), np.int64)
    return (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)


def _padded(rows: list[list[Any]], fill: int, dtype: Any, tail: tuple[int, ...] = ()) -> np.ndarray:
    """Rows of different length as one array ``(rows, longest, *tail)``."""
    longest = _longest([*map(len, rows)])
    if len(rows) == 1 and rows[0]:
        return np.array(rows, dtype)
    array = np.full((len(rows), longest, *tail), fill, dtype)
    for number, row in enumerate(rows):
        if row:
            array[number, : len(row)] = row
    return array
