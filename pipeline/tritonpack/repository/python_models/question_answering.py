"""Post-processing stage: logits of an answer's first and last token to spans of the context, best first.

Inputs, of windows that each hold a question and a part of its context: ``start_output`` and ``end_output`` (windows,
tokens) FP32, where tokens may be more than the request's longest window has; ``attention_mask``, ``sequence`` (1 at
the context, -1 at special tokens and padding) and, if answers are aligned to words, ``words`` (index of the token's
word in its text, -1 for none), (windows, sequence) integers; ``offsets`` (windows, sequence, 2) INT32, [start, end)
of the token in characters (code points) of its text; ``row`` (windows, 1) INT32, row of the request;
``context_of_window`` (windows, 1) BYTES, UTF-8: the whole context.

Outputs, (rows, top_k) each: ``answers`` BYTES, ``scores`` FP32, ``starts`` and ``ends`` INT32 (characters of the
context). "The context has no answer" is an empty text from 0 to 0 with its score. Where a row has fewer answers, texts
are empty, scores 0 and positions -1.

They are what ``QuestionAnsweringPipeline`` of ``transformers`` 4.57, the last release line that has one, answers with
the question before the context: a token's probabilities are of its window (the first token, if special, takes part);
a span's score is the product of its ends'; answers of equal text in lower case are one whose scores add up, over
windows too, so that a score can exceed 1; "no answer" has the least score that any window gives it. Spans that leave
the context are no answers here, where the pipeline pads a short context's list with them at a score of 0.

Parameters: ``top_k`` (1 if absent), ``max_answer_length`` (tokens, 15 if absent), ``handle_impossible`` (true or
false; false if absent), ``align_to_words`` (true or false; true if absent: answers begin and end with whole words).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# A probability of exactly 0 in FP32, and finite: a window without one allowed token gives no NaN.
NEVER = np.float32(-1e30)


class _Answer(NamedTuple):
    score: float
    start: int
    end: int
    text: str


class _Spans(NamedTuple):
    """Best spans of each window, best first: (windows, spans) each; a score of -1 is no span."""

    score: NDArray[Any]
    start: NDArray[Any]
    end: NDArray[Any]


class Stage:
    """Answers to questions.

    Args:
        folder: the version's folder; not read.
        parameters: see the head of this file.

    Raises:
        ValueError: a parameter is bad.
    """

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:  # noqa: ARG002
        self.notices: list[str] = []
        self.top_k = int(parameters.get("top_k", "1"))
        self.max_answer_length = int(parameters.get("max_answer_length", "15"))
        if min(self.top_k, self.max_answer_length) < 1:
            raise ValueError(
                f"top_k, max_answer_length: at least 1 is wanted, not {self.top_k}, {self.max_answer_length}"
            )
        self.handle_impossible = _flag(parameters, "handle_impossible", "false")
        self.align_to_words = _flag(parameters, "align_to_words", "true")
        # Several spans of tokens can be one span of words; the pipeline looks at as many.
        self.candidates = 2 * self.top_k + 10 if self.align_to_words else self.top_k

    def run(self, requests: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]] | str]:
        """Answer each request.

        Args:
            requests: each holds the inputs.

        Returns:
            Each request's outputs, or why it has no answer.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | str:
        sequence, real, row = request["sequence"], request["attention_mask"] != 0, request["row"].reshape(-1)
        width = sequence.shape[1]
        ends_of_answers = []
        for name in ("start_output", "end_output"):
            logits = request[name]
            if logits.shape[1] < width:
                return f"the model gives {name} of {logits.shape[1]} tokens for {width}; build it again"
            logits = logits[:, :width].astype(np.float32, copy=False)
            finite = np.isfinite(logits) | ~real
            if not finite.all():
                return f"the model's logits of row {int(row[finite.all(axis=1).argmin()])} aren't finite numbers"
            ends_of_answers.append(logits)
        if self.align_to_words and "words" not in request:
            return "answers aligned to words want the input 'words'; build the model again"
        context = real & (sequence == 1)
        allowed = context.copy()
        allowed[:, 0] |= real[:, 0] & (sequence[:, 0] < 0)
        start, end = (_probabilities(logits, allowed) for logits in ends_of_answers)
        no_answer = start[:, 0] * end[:, 0]
        spans = self._best(np.where(context, start, np.float32(-1)), np.where(context, end, np.float32(-1)))
        offsets = request["offsets"]
        first, last = offsets[:, :, 0], offsets[:, :, 1]
        if self.align_to_words:
            first, last = _whole_words(request["words"], context, first, last)
        characters = _Spans(
            spans.score, np.take_along_axis(first, spans.start, axis=1), np.take_along_axis(last, spans.end, axis=1)
        )
        try:
            contexts = [data.decode() for data in request["context_of_window"].reshape(-1)]
        except UnicodeDecodeError as error:
            return f"a context isn't valid UTF-8: {error}"
        return self._outputs(row, contexts, characters, no_answer)

    def _best(self, start: NDArray[Any], end: NDArray[Any]) -> _Spans:
        """Best spans of tokens of each window.

        Every one of a window's best spans begins at one of as many tokens: those with the best span of their own.

        Args:
            start: (windows, sequence) probabilities that the answer begins at the token, -1 where it can't.
            end: the same of its last token.

        Returns:
            At most ``candidates`` spans of each window, in tokens.
        """
        windows, width = start.shape
        longest = min(self.max_answer_length, width)
        padded = np.concatenate([end, np.full((windows, longest - 1), -1, np.float32)], axis=1)
        best_end, reach = padded.copy(), 1
        while reach < longest:
            step = min(reach, longest - reach)
            best_end[:, :-step] = np.maximum(best_end[:, :-step], best_end[:, step:])
            reach += step
        scores = np.where(start < 0, start, start * best_end[:, :width])
        count = min(self.candidates, width)
        begins = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
        finishes = begins[:, :, None] + np.arange(longest)
        window = np.arange(windows)[:, None]
        before = np.take_along_axis(start, begins, axis=1)[:, :, None]
        after = padded[window[:, :, None], finishes]
        score = np.where((before < 0) | (after < 0), np.float32(-1), before * after).reshape(windows, -1)
        order = np.argsort(-score, axis=1, kind="stable")[:, : self.candidates]
        # A span that isn't one may end in the padding.
        finish = np.minimum(finishes.reshape(windows, -1)[window, order], width - 1)
        return _Spans(score[window, order], begins[window, order // longest], finish)

    def _outputs(
        self, row: NDArray[Any], contexts: list[str], spans: _Spans, no_answer: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        rows = int(row.max()) + 1
        shape = (rows, self.top_k)
        answers, scores = np.full(shape, b"", object), np.zeros(shape, np.float32)
        starts, ends = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
        found: list[dict[str, _Answer]] = [{} for _ in range(rows)]
        for window, (of_row, text) in enumerate(zip(row.tolist(), contexts, strict=True)):
            of_window = (array[window].tolist() for array in spans)
            for score, start, end in zip(*of_window, strict=True):
                if score < 0:
                    break
                answer = text[start:end]
                key = answer.lower()
                known = found[of_row].get(key, _Answer(0.0, start, end, answer))
                found[of_row][key] = known._replace(score=known.score + score)
        for of_row, by_text in enumerate(found):
            of_all = list(by_text.values())
            if self.handle_impossible:
                of_all.append(_Answer(float(no_answer[row == of_row].min()), 0, 0, ""))
            of_all.sort(key=lambda answer: -answer.score)
            for place, best in enumerate(of_all[: self.top_k]):
                answers[of_row, place], scores[of_row, place] = best.text.encode(), best.score
                starts[of_row, place], ends[of_row, place] = best.start, best.end
        return {"answers": answers, "scores": scores, "starts": starts, "ends": ends}


def _flag(parameters: dict[str, str], name: str, absent: str) -> bool:
    value = parameters.get(name, absent)
    if value not in {"true", "false"}:
        raise ValueError(f"{name}: true or false is wanted, not {value!r}")
    return value == "true"


def _probabilities(logits: NDArray[Any], allowed: NDArray[Any]) -> NDArray[Any]:
    """Softmax over a window's allowed tokens; 0 at the others."""
    kept = np.where(allowed, logits, NEVER)
    powers: NDArray[Any] = np.exp(kept - kept.max(axis=1, keepdims=True)) * allowed
    total = powers.sum(axis=1, keepdims=True)
    # No token is allowed where the total is 0; their zeros stay.
    np.divide(powers, total, out=powers, where=total > 0)
    return powers


def _whole_words(
    words: NDArray[Any], context: NDArray[Any], first: NDArray[Any], last: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where the word of each token begins and ends, in characters; a token of no word stands for itself.

    Args:
        words: (windows, sequence) index of the token's word, -1 for none.
        context: whether the token is one of the context.
        first: (windows, sequence) where the token begins, in characters.
        last: where it ends.

    Returns:
        The word's ``first`` and ``last`` of each token. A word that a window cuts begins or ends where it's cut.
    """
    width = words.shape[1]
    joined = (words[:, 1:] == words[:, :-1]) & (words[:, 1:] >= 0) & context[:, 1:] & context[:, :-1]
    index = np.arange(width)
    begins = np.broadcast_to(index, words.shape).copy()
    begins[:, 1:][joined] = 0
    ends = np.broadcast_to(index, words.shape).copy()
    ends[:, :-1][joined] = width
    begins = np.maximum.accumulate(begins, axis=1)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return np.take_along_axis(first, begins, axis=1), np.take_along_axis(last, ends, axis=1)
