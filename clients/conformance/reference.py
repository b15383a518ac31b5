"""What the models of ``repository/`` answer, in plain Python: the cases' expected results are checked against it.

    python clients/conformance/reference.py tag entities '["Anna has 12"]'

prints the result that a case of the call, the model and its first argument expects.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def hash_vectors(texts: list[str]) -> dict[str, Any]:
    """(n, 8) vectors of the model ``hash``."""
    rows = []
    for text in texts:
        digits = [int(digit, 16) - 7.5 for digit in f"{zlib.crc32(text.encode()):08x}"]
        length = math.sqrt(sum(digit * digit for digit in digits))
        rows.append([digit / length for digit in digits])
    return fp32(rows, 8)


def byte_counts(texts: list[str]) -> dict[str, Any]:
    """(n, 1) vectors of the models ``moods``, ``full``, ``late`` and ``stateful``."""
    return fp32([[len(text.encode())] for text in texts], 1)


def letter_shares(texts: list[str]) -> list[Any]:
    """Labels of the model ``labels``."""
    answers = []
    for text in texts:
        counts = {letter: text.count(letter) for letter in "abc"}
        total = 3 + sum(counts.values())
        answers.append(best_first({letter: (1 + count) / total for letter, count in counts.items()}))
    return answers


def same_words(pairs: list[list[str]]) -> list[Any]:
    """Labels of the model ``pairs``."""
    answers = []
    for left, right in pairs:
        words, others = set(left.split()), set(right.split())
        share = 1.0 if not words | others else len(words & others) / len(words | others)
        answers.append(best_first({"same": share, "different": 1 - share}))
    return answers


def words_found(pairs: list[list[str]]) -> list[float]:
    """Scores of the model ``rerank``."""
    questions = [(set(question.split()), set(text.split())) for question, text in pairs]
    return [len(words & found) / len(words) if words else 0.0 for words, found in questions]


def capitals_and_numbers(texts: list[str]) -> list[Any]:
    """Entities of the model ``entities``."""
    answers: list[Any] = []
    for text in texts:
        answers.append([])
        for word, start in words_of(text):
            if word.isdigit() or word[0].isupper():
                label = "NUMBER" if word.isdigit() else "NAME"
                place = {"start": start, "end": start + len(word)}
                answers[-1].append({"text": word, "label": label, "score": 1 - 1 / (1 + len(word)), **place})
    return answers


def words_that_begin(questions: list[list[str]]) -> list[Any]:
    """Answers of the model ``answers``."""
    answers = []
    for question, context in questions:
        found: list[dict[str, Any]] = [
            {"text": word, "score": len(question) / len(word), "start": start, "end": start + len(word)}
            for word, start in words_of(context)
            if question and word.startswith(question)
        ]
        if question == "?":
            found = [{"text": "", "score": 0.5, "start": 0, "end": 0}]
        answers.append(sorted(found, key=lambda answer: -answer["score"])[:2])
    return answers


def neighbours(texts: list[str]) -> list[Any]:
    """Tokens of the model ``masks``."""
    answers = []
    for text in texts:
        words = ["<none>", *text.split(), "<none>"]
        places = [place for place, word in enumerate(words) if word == "[MASK]"]
        answers.append([tokens([words[place - 1], words[place + 1]]) for place in places])
    return answers


def last_words(texts: list[str]) -> list[Any]:
    """Tokens of the model ``tokens``."""
    return [tokens([" " + (text.split() or [""])[-1], "."]) for text in texts]


REFERENCES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("embed", "hash"): hash_vectors,
    ("iter_embed", "hash"): hash_vectors,
    **{("embed", model): byte_counts for model in ("moods", "full", "late", "stateful")},
    ("classify", "labels"): letter_shares,
    ("classify", "pairs"): same_words,
    ("classify", "rerank"): lambda pairs: [[{"label": "relevance", "score": score}] for score in words_found(pairs)],
    ("score_pairs", "rerank"): lambda pairs: fp32(words_found(pairs)),
    ("tag", "entities"): capitals_and_numbers,
    ("answer", "answers"): words_that_begin,
    ("fill_mask", "masks"): neighbours,
    ("next_tokens", "tokens"): last_words,
}
"""(call, model) -> the function of the call's first argument."""


def fp32(rows: list[Any], width: int | None = None) -> dict[str, Any]:
    """Write scores, or rows of ``width`` numbers, as the cases do."""
    shape = [len(rows)] if width is None else [len(rows), width]
    return {"datatype": "FP32", "shape": shape, "data": rows if width is None else [one for row in rows for one in row]}


def best_first(scores: dict[str, float]) -> list[dict[str, Any]]:
    """Labels with their scores, equal ones in the order of the model."""
    ordered = sorted(scores.items(), key=lambda pair: -pair[1])
    return [{"label": label, "score": score} for label, score in ordered]


def tokens(pair: list[str]) -> list[dict[str, Any]]:
    """Two tokens, 0.75 and 0.25."""
    found = zip(pair, (0.75, 0.25), strict=True)
    return [{"token": token, "token_id": len(token), "score": score} for token, score in found]


def words_of(text: str) -> list[tuple[str, int]]:
    """What stands between spaces, and where it begins."""
    found, start = [], 0
    for word in text.split(" "):
        if word:
            found.append((word, start))
        start += len(word) + 1
    return found


if __name__ == "__main__":
    call, model, argument = sys.argv[1:]
    print(json.dumps(REFERENCES[call, model](json.loads(argument))))
