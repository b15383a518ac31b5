"""What the cells are asked: texts of every length, in scripts where characters, bytes and code units differ."""

from __future__ import annotations

WORDS = (
    "the", "a", "an", "how", "do", "i", "deploy", "model", "neural", "network", "cat", "sat", "on", "mat", "dog", "ran",
    "over", "hill", "server", "sends", "answer", "text", "longer", "than", "one", "word", "and", "shorter", "two",
    "three", "four", "five", "six", "seven", "eight", "nine", "ten", "red", "green", "blue", "small", "large", "quick",
    "ada", "lovelace", "lives", "in", "london", "paris", "who", "where", "what", "is", "not",
)  # fmt: skip


def of_words(count: int, seed: int = 0) -> str:
    """A text of some words, capitalised and punctuated here and there."""
    words = [WORDS[(7 * i + 5 * seed + i * i * (seed + 1)) % len(WORDS)] for i in range(count)]
    words = [word.capitalize() if i % 6 == seed % 6 else word for i, word in enumerate(words)]
    return " ".join(f"{word}," if i % 9 == 8 else word for i, word in enumerate(words))


FAMILY_EMOJI = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
TEXTS = (
    "cat",
    "Ada Lovelace lives in London, not in Paris!",
    f"the dog {FAMILY_EMOJI} ran \U0001f680 over \U0001f1eb\U0001f1f7 the hill",
    "Cafe\u0301 and caf\u00e9 and na\u00efve: \u1e0b\u0323 one word",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd and \u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",  # noqa: E501
    "\u6211\u7231\u5317\u4eac\u5929\u5b89\u95e8\uff0c\u4f60\u597d\u4e16\u754c\u3002",
    "  two\u00a0spaces\tand a\nnew line \u2026 don't  ",
    "\u0928\u092e\u0938\u094d\u0924\u0947 ten",
    of_words(3),
    of_words(11, 1),
    of_words(23, 2),
    of_words(120, 3),
)
"""The last is longer than any model here takes."""

QUESTIONS = ("Who lives in London?", "what is red", "\u4f60\u597d\uff1f where", "the cat?")
CONTEXTS = (
    "The red cat sat on the mat. Ada Lovelace lives in London and not in Paris.",
    of_words(80, 4),
    f"{FAMILY_EMOJI} Cafe\u0301 \u05e9\u05dc\u05d5\u05dd {of_words(40, 5)} \u5317\u4eac \U0001f680 {of_words(20, 6)}",
    "mat",
)
MASKED = (
    "the {mask} sat on the mat",
    "{mask}",
    "Ada {mask} lives in {mask}, not in Paris!",
    f"\u5317\u4eac {FAMILY_EMOJI} {{mask}} \u05e9\u05dc\u05d5\u05dd",
    of_words(9) + " {mask} " + of_words(90, 1),
)
"""``{mask}`` stands for the family's own mask token."""

PAIRS = tuple(
    (TEXTS[i], TEXTS[j]) for i, j in ((0, 1), (1, 0), (2, 3), (4, 5), (9, 8), (10, 9), (11, 2), (2, 11), (11, 11))
)


def calibration_lines(columns: int) -> list[str]:
    """Sixteen rows of many lengths, a line each; several texts of a row are separated by tabulators."""
    texts = [" ".join(text.split()) for text in (*TEXTS, *(of_words(5 + 3 * row, row) for row in range(4)))]
    # A question has to leave room for its document, so the first of several is short.
    return [
        "\t".join([*(of_words(2 + row % 3, row) for _ in range(columns - 1)), text]) for row, text in enumerate(texts)
    ]


def characters() -> list[str]:
    """Those that a tiny vocabulary knows: all but the rocket and two Chinese ones, which stay unknown."""
    import unicodedata

    everything = "".join((*TEXTS, *QUESTIONS, *CONTEXTS, *MASKED, "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:{}"))
    forms = {
        form
        for one in (everything, everything.lower())
        for text in (one, *(unicodedata.normalize(kind, one) for kind in ("NFC", "NFKD")))
        for form in text
    }
    return sorted(form for form in forms if not form.isspace() and form not in "\U0001f680\u4e16\u754c")
