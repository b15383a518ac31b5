"""Sentences from templates with made-up personal data, and where it stands."""

from __future__ import annotations

import random
import re

from labelled import Labelled

SEED = 7
_SLOT = re.compile(r"\{(\w+)\}")
_VALUES = {
    "GIVEN_NAME": ("Maria", "James", "Aisha", "Peter", "Yuki", "Carlos", "Ingrid", "Samuel"),
    "SURNAME": ("Lopez", "Fischer", "Okafor", "Johnson", "Tanaka", "Svensson", "Murphy"),
    "CITY": ("Boston", "Chicago", "Denver", "Seattle", "Portland", "Austin"),
    "STATE": ("Texas", "Ohio", "Oregon", "Florida", "Nevada"),
    "STREET_NAME": ("Main Street", "Oak Avenue", "Elm Street", "Lincoln Road", "Park Avenue"),
}
_TEMPLATES = (
    "My name is {GIVEN_NAME} {SURNAME} and I live in {CITY}.",
    "Please send the parcel to {BUILDING_NUMBER} {STREET_NAME}, {CITY}, {STATE} {ZIP_CODE}.",
    "You can reach {GIVEN_NAME} at {EMAIL} or call {PHONE}.",
    "Dear {GIVEN_NAME}, your appointment in {CITY} is on Monday at ten.",
    "{GIVEN_NAME} {SURNAME} moved from {CITY} to {STATE} last year.",
    "The invoice was paid, thank you for your patience.",
    "Call me back on {PHONE}, I am {GIVEN_NAME} from the {CITY} office.",
    "Her passport number is {PASSPORT} and her phone is {PHONE}.",
    "Write to {EMAIL} before Friday, said {GIVEN_NAME} {SURNAME}.",
)


def sentences(count: int) -> Labelled:
    """The label is a list of (start, end, kind), in characters."""
    rng = random.Random(SEED)
    rows, labels = [], []
    for _ in range(count):
        text, spans, template, place = "", [], rng.choice(_TEMPLATES), 0
        for slot in _SLOT.finditer(template):
            text += template[place : slot.start()]
            value = _value(slot.group(1), rng)
            spans.append((len(text), len(text) + len(value), slot.group(1)))
            text, place = text + value, slot.end()
        rows.append({"text": text + template[place:]})
        labels.append(spans)
    return Labelled(rows, labels, "made-up data in templates")


def _value(kind: str, rng: random.Random) -> str:
    if kind in _VALUES:
        return rng.choice(_VALUES[kind])
    digits = "".join(rng.choices("0123456789", k=10))
    return {
        "PHONE": f"({digits[:3]}) 555-{digits[3:7]}",
        "ZIP_CODE": f"{digits[:5]}",
        "BUILDING_NUMBER": f"{rng.randrange(1, 999)}",
        "PASSPORT": f"{rng.choice('ABCX')}{digits[:8]}",
        "EMAIL": f"{rng.choice(_VALUES['GIVEN_NAME']).lower()}.{rng.choice(_VALUES['SURNAME']).lower()}@example.com",
    }[kind]
