"""Texts in many scripts, the same every time: real sentences, and what real sentences don't hold."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from importlib.util import find_spec
from pathlib import Path

# The package's sentences for a smart home, which speakers of each language wrote.
LANGUAGES = {
    "Latin": ("en", "de", "fr", "vi", "tr", "pl", "is"),
    "Cyrillic": ("ru", "uk", "bg", "sr", "mn"),
    "Greek": ("el",),
    "Arabic": ("ar", "fa", "ur"),
    "Hebrew": ("he",),
    "Devanagari": ("hi", "ne"),
    "Thai": ("th",),
    "Han": ("zh-CN", "zh-TW", "zh-HK"),
    "Hangul": ("ko",),
    "Kana": ("ja",),
    "Bengali": ("bn",),
    "Gurmukhi": ("pa",),
    "Gujarati": ("gu",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Kannada": ("kn",),
    "Malayalam": ("ml",),
    "Georgian": ("ka",),
    "Armenian": ("hy",),
}
RANGES = {
    "Latin": (0x41, 0x24F),
    "Cyrillic": (0x400, 0x52F),
    "Greek": (0x370, 0x3FF),
    "Arabic": (0x620, 0x6D3),
    "Hebrew": (0x591, 0x5F4),
    "Devanagari": (0x900, 0x97F),
    "Thai": (0xE01, 0xE5B),
    "Han": (0x4E00, 0x9FFF),
    "Hangul": (0xAC00, 0xD7A3),
    "Kana": (0x3041, 0x30FF),
    "Bengali": (0x980, 0x9FE),
    "Gurmukhi": (0xA01, 0xA76),
    "Gujarati": (0xA81, 0xAFF),
    "Tamil": (0xB82, 0xBFA),
    "Telugu": (0xC00, 0xC7F),
    "Kannada": (0xC80, 0xCF2),
    "Malayalam": (0xD00, 0xD7F),
    "Georgian": (0x10A0, 0x10FF),
    "Armenian": (0x531, 0x58F),
    "Ethiopic": (0x1200, 0x137C),
    "Cherokee": (0x13A0, 0x13FD),
    "Deseret": (0x10400, 0x1044F),
}
SENTENCES = 260
WORDS = 60
ODD = 60
_SPACES = (" ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u200b")
_EMOJI = ("😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️", "1️⃣", "🧑🏿‍🚀", "☎", "⌚️", "™", "🫠")
_PUNCTUATION = "!?.,;:'\"`\u00b4\u2018\u2019“”„«»…\u2013—-_/\\()[]{}<>@#$€%&*+=~^|¿¡、。 "
_TEMPLATE = re.compile(r"\[|\]|\(|\)|\||;|<[^<>]*>|\{[^{}]*\}|[^\[\]()|;<>{}]+")


def corpus() -> dict[str, list[str]]:
    """Texts by kind: of each script real sentences and words from its code points, then kinds of odd ones."""
    chance = random.Random(0)  # noqa: S311  not a secret
    texts: dict[str, list[str]] = {}
    for script, codes in RANGES.items():
        real = [text for language in LANGUAGES.get(script, ()) for text in _sentences(language)]
        found = sorted(set(real))
        chance.shuffle(found)
        texts[script] = found[:SENTENCES] + [_words(chance, [codes]) for _ in range(WORDS)]
    ranges = list(RANGES.values())
    # Marks and controls over letters of every script; a word as long as a page; both directions in one line.
    texts |= {
        "emoji": [_mixed(chance, _EMOJI, texts["Latin"]) for _ in range(ODD)],
        "combining marks": [_marked(chance, chance.choice(texts["Latin"])) for _ in range(ODD)],
        "decomposed": [unicodedata.normalize("NFD", chance.choice(texts[script])) for script in list(RANGES) * 3],
        "compatibility": [_mixed(chance, "ﬁﬀ①Ⅷ㎏ＡＢ１ｱｶﾞ㍿ﷺ½²", texts["Greek"]) for _ in range(ODD)],
        "controls": [_mixed(chance, _controls(), texts["Cyrillic"]) for _ in range(ODD)],
        "long words": ["".join(chance.choices("abcäβжあ中", k=chance.randint(90, 900))) for _ in range(ODD)],
        "both directions": [_mixed(chance, texts["Hebrew"][:50], texts["Latin"]) for _ in range(ODD)],
        "all scripts": [_words(chance, chance.sample(ranges, 4)) for _ in range(ODD * 2)],
        "special tokens": [_mixed(chance, ("[MASK]", "[SEP]", "<s>", "</s>", "<mask>", "[CLS]x"), texts["Latin"])
                           for _ in range(ODD)],
        "punctuation": ["".join(chance.choices(_PUNCTUATION, k=20)) for _ in range(ODD)],
        "empty": ["", " ", "  ", "\t", "\n\n", "\u00a0", "\u200b", "\ufeff", "\u3000 ", "\u00ad", "\x00", "\ufffd"],
    }  # fmt: skip
    return texts


def _sentences(language: str) -> list[str]:
    """Every template of a language, expanded twice by chance."""
    folder = Path(next(iter(find_spec("home_assistant_intents").submodule_search_locations)))
    document = json.loads((folder / "data" / f"{language}.json").read_text(encoding="utf-8"))
    chance = random.Random(language)  # noqa: S311  not a secret
    blocks = [block for intent in document["intents"].values() for block in intent["data"]]
    templates = [template for block in blocks for template in block["sentences"]] * 2
    return [_expanded(template, document, chance).strip() for template in templates]


def _expanded(template: str, document: dict, chance: random.Random) -> str:
    """Expand ``[optional]``, ``(one|other)``, ``<rule>`` and ``{list}``."""
    parts: list[list[str]] = [[""]]
    closings: list[str] = []
    for piece in _TEMPLATE.findall(template):
        if piece in "[(":
            parts.append([""])
            closings.append("]" if piece == "[" else ")")
        elif piece in "])" and closings and closings[-1] == piece:
            choices = parts.pop() + ([""] if closings.pop() == "]" else [])
            parts[-1][-1] += chance.choice(choices)
        elif piece in "|;":
            parts[-1].append("")
        elif piece[0] == "<":
            rule = document.get("expansion_rules", {}).get(piece[1:-1], "")
            parts[-1][-1] += _expanded(rule, document, chance)
        else:
            parts[-1][-1] += _value(piece[1:-1], document, chance) if piece[0] == "{" else piece
    return parts[0][0]


def _value(name: str, document: dict, chance: random.Random) -> str:
    values = document.get("lists", {}).get(name.partition(":")[0], {}).get("values")
    if not values:
        return str(chance.randint(0, 2000))
    value = chance.choice(values)
    return _expanded(value["in"] if isinstance(value, dict) else value, document, chance)


def _words(chance: random.Random, ranges: list[tuple[int, int]]) -> str:
    """Words of code points that are assigned, ranges taken in turn."""
    words = []
    for number in range(chance.randint(1, 12)):
        first, last = ranges[number % len(ranges)]
        letters = [chr(chance.randint(first, last)) for _ in range(chance.randint(1, 9))]
        words.append("".join(letter for letter in letters if unicodedata.category(letter) != "Cn"))
    return chance.choice(_SPACES).join(words)


def _mixed(chance: random.Random, parts: tuple[str, ...] | list[str] | str, texts: list[str]) -> str:
    """Parts between the words of a text, with and without spaces."""
    words = chance.choice(texts).split()
    for _ in range(chance.randint(1, 5)):
        words.insert(chance.randint(0, len(words)), chance.choice(parts))
    return chance.choice(("", " ")).join(words)


def _marked(chance: random.Random, text: str) -> str:
    return "".join(letter + "".join(chance.choices("\u0301\u0308\u0327\u20e3\u0489", k=chance.randint(0, 3)))
                   for letter in text)  # fmt: skip


def _controls() -> str:
    return "".join(map(chr, (*range(0x20), 0x7F, 0x85, 0x200C, 0x200D, 0x200E, 0x202E, 0x2028, 0xFEFF, 0xE000)))
