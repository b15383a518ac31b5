"""Extractive question answering as `transformers` did it while it had a pipeline for that.

Release 5 has the models and the span search (inside document question answering), but no
``QuestionAnsweringPipeline`` any more; around the search this follows the last release that had one.
Source: https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/pipelines/question_answering.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from conformance.cells import Cell
    from conformance.questions import Row

_NO_SCORE_YET = 1_000_000.0
_LONGEST_ANSWER = 15


def spans_from_model(model: Any, tokenizer: Any, cell: Cell, row: Row) -> list[tuple[tuple[int, int, str], float]]:
    """Every answer that the windows of a document offer: ``((start, end, text), score)``, the best first.

    Args:
        model: with a question answering head.
        tokenizer: the model's.
        cell: its task and input say how.
        row: ``question`` and ``context``.
    """
    from transformers.pipelines.document_question_answering import select_starts_ends

    task, options = cell.task, cell.input or {}
    aligned = task.get("align_to_words", True)
    top = 2 * task["top_k"] + 10 if aligned else task["top_k"]
    # The pipeline put the document first for tokenizers that pad on the left.
    question_first = tokenizer.padding_side == "right"
    encoding = tokenizer(
        *((row["question"], row["context"]) if question_first else (row["context"], row["question"])),
        truncation="only_second" if question_first else "only_first",
        max_length=cell.max_length,
        stride=options["stride"],
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    found: dict[str, tuple[tuple[int, int, str], float]] = {}
    no_answer = _NO_SCORE_YET
    for window in range(len(encoding["input_ids"])):
        start, end = _logits(model, tokenizer, encoding, window)
        forbidden = _forbidden(tokenizer, encoding, window, document=int(question_first))
        # The search takes the first place for the classifier token's; where the document begins there, one is added.
        added = 0 if question_first else 1
        start, end = (np.pad(scores, ((0, 0), (added, 0)), constant_values=-1e4) for scores in (start, end))
        starts, ends, scores, no_answer = select_starts_ends(
            start,
            end,
            np.pad(forbidden, ((0, 0), (added, 0)), constant_values=1),
            np.ones_like(start, dtype=np.int64),
            no_answer,
            top,
            task["handle_impossible"],
            _LONGEST_ANSWER,
        )
        for first, last, score in zip(starts.tolist(), ends.tolist(), scores.tolist(), strict=True):
            # Spans that end before they start fill short lists up with a score of 0: they are no answers.
            if score > 0:
                begin, finish = _characters(
                    encoding[window], first - added, last - added, document=int(question_first), aligned=aligned
                )
                text = row["context"][begin:finish]
                known, before = found.get(text.lower(), ((begin, finish, text), 0.0))
                found[text.lower()] = (known, before + score)
    answers = list(found.values())
    if task["handle_impossible"]:
        answers.append(((0, 0, ""), float(no_answer)))
    return sorted(answers, key=lambda answer: -answer[1])


def _logits(model: Any, tokenizer: Any, encoding: Any, window: int) -> tuple[Any, Any]:
    """Of one window alone, ``(1, tokens)`` each."""
    import torch

    names = [name for name in tokenizer.model_input_names if name in encoding]
    output = model(**{name: torch.tensor([encoding[name][window]]) for name in names})
    return output.start_logits.numpy(), output.end_logits.numpy()


def _forbidden(tokenizer: Any, encoding: Any, window: int, *, document: int) -> Any:
    """``(1, tokens)``: 1 where no answer may be; the classifier token stands for "no answer".

    XLNet's classifier token ends the row; here it takes no part.
    """
    outside = np.array([[place != document for place in encoding.sequence_ids(window)]], dtype=np.int64)
    if encoding["input_ids"][window][0] == tokenizer.cls_token_id:
        outside[0, 0] = 0
    return outside


def _characters(encoding: Any, first: int, last: int, *, document: int, aligned: bool) -> tuple[int, int]:
    """From the first character of a span's first token, or of its whole word, to the end of its last."""
    if aligned:
        try:
            begin = encoding.word_to_chars(encoding.token_to_word(first), document)[0]
            return begin, encoding.word_to_chars(encoding.token_to_word(last), document)[1]
        except (TypeError, IndexError):
            pass
    return encoding.offsets[first][0], encoding.offsets[last][1]
