"""What people say to Home Assistant: sentences drawn from its 42 English intents' templates.

Package home-assistant-intents, Apache-2.0. A template holds alternatives ``(a|b)``, words that may be missing
``[a]``, parts in any order ``(a;b)``, rules ``<rule>`` and slots ``{list:name}``.
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

from labelled import Labelled
from tritonpack.core.resources import path_from_location

SEED = 7
_HELD_OUT = 5
_TOKEN = re.compile(r"[()\[\]|;]|<\w+>|\{[^}]+\}|[^()\[\]|;<{]+")
_WORDS = {
    "name": (
        "lamp",
        "desk light",
        "ceiling fan",
        "front door",
        "tv",
        "coffee machine",
        "thermostat",
        "blinds",
        "radio",
    ),
    "area": ("kitchen", "bedroom", "office", "garage", "living room", "hallway", "bathroom", "garden"),
    "floor": ("first", "second", "ground", "top", "upstairs", "basement"),
    "zone": ("work", "school", "home", "the gym"),
    "message": ("dinner is ready", "time to leave", "good night everyone"),
    "search_query": ("abbey road", "miles davis", "the planet earth", "morning jazz"),
    "timer_name": ("pizza", "laundry", "tea", "homework"),
    "timer_command": ("open the blinds", "turn off the tv", "lock the door"),
    "shopping_list_item": ("milk", "apples", "bread", "batteries"),
    "todo_list_item": ("call mom", "water the plants", "pay rent", "clean the car"),
}


def commands(*, test: bool, each: int = 60) -> Labelled:
    """Sentences of every intent; the test's are drawn from templates that training doesn't see.

    Args:
        test: the held-out templates: every fifth of an intent, where it has five.
        each: sentences of one intent.
    """
    rng = random.Random(SEED + test)
    drawn: dict[str, int] = {}
    for label, templates in enumerate(_intents().values()):
        kept = [template for place, template in enumerate(templates) if (place % _HELD_OUT == _HELD_OUT - 1) == test]
        for _ in range(each if kept else 0):
            drawn.setdefault(_sentence(rng.choice(kept), rng), label)
    rows = list(drawn.items())
    rng.shuffle(rows)
    return Labelled([{"text": text} for text, _ in rows], [label for _, label in rows], "sentences from templates")


def names() -> list[str]:
    """The intents, in the order of their labels."""
    return list(_intents())


@cache
def _data() -> dict[str, Any]:
    file = path_from_location("package:home_assistant_intents/data/en.json", Path.cwd())
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


@cache
def _intents() -> dict[str, list[str]]:
    return {
        name: [sentence for block in intent["data"] for sentence in block["sentences"]]
        for name, intent in sorted(_data()["intents"].items())
    }


def _sentence(template: str, rng: random.Random) -> str:
    tokens = _TOKEN.findall(template)
    return " ".join(_sequence(tokens, rng).split())


def _sequence(tokens: list[str], rng: random.Random) -> str:
    """Read to the end of a group, take one of its alternatives, its parts in any order."""
    alternatives: list[list[str]] = [[""]]
    while tokens and tokens[0] not in ")]":
        token = tokens.pop(0)
        if token == "|":  # noqa: S105  not a password
            alternatives.append([""])
        elif token == ";":  # noqa: S105
            alternatives[-1].append("")
        else:
            alternatives[-1][-1] += _piece(token, tokens, rng)
    parts = rng.choice(alternatives)
    rng.shuffle(parts)
    return " ".join(parts)


def _piece(token: str, tokens: list[str], rng: random.Random) -> str:
    if token in {"(", "["}:
        inner = _sequence(tokens, rng)
        tokens.pop(0)
        return inner if token == "(" or rng.getrandbits(1) else ""  # noqa: S105
    if token[0] == "<":
        return _sequence(_TOKEN.findall(_data()["expansion_rules"][token[1:-1]]), rng)
    if token[0] == "{":
        return _slot(token[1:-1].partition(":")[0], rng)
    return token


def _slot(name: str, rng: random.Random) -> str:
    if name in _WORDS:
        return rng.choice(_WORDS[name])
    values = _data()["lists"][name]
    if "range" in values:
        limits = values["range"]
        return str(rng.randrange(limits["from"], limits["to"] + 1, limits.get("step", 1)))
    return _sequence(_TOKEN.findall(rng.choice(values["values"])["in"]), rng)
