"""Every example of docs/http.md, run as it stands there: bash, curl and a real server.

The page is fenced blocks in pairs: ``sh``, and after it what the commands print. ``json`` is one document or several
(floats are compared to 1e-4), ``jsonc`` the same where a comment says that an object may hold more keys, ``text`` is
compared word for word. A ``sh`` block without an answer prints nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tritonpack.server.embedded import ServerOptions, free_ports, start

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "http.md"
REPOSITORY = ROOT / "clients" / "conformance" / "repository"
BLOCK = re.compile(r"^(?:#+ (?P<heading>[^\n]+)|```(?P<language>\w*)\n(?P<code>.*?)^```)$", re.MULTILINE | re.DOTALL)
MORE = re.compile(r"^\s*//.*$", re.MULTILINE)

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Example:
    """Commands, and what the page says that they print.

    Attributes:
        name: the heading above, and which of its examples this is.
        language: of the answer; an empty string where there is none.
    """

    name: str
    commands: str
    language: str = ""
    answer: str = ""


def examples_from_page(text):
    """The examples of a page, in its order.

    Raises:
        ValueError: a block is neither commands nor the answer to some.
    """
    found, heading = [], ""
    for match in BLOCK.finditer(text):
        language, code = match["language"], match["code"]
        if match["heading"]:
            heading = match["heading"]
        elif language == "sh":
            count = 1 + sum(example.name.rpartition(" ")[0] == heading for example in found)
            found.append(Example(f"{heading} {count}", code))
        elif language in {"json", "jsonc", "text"} and found and not found[-1].language:
            found[-1] = Example(found[-1].name, found[-1].commands, language, code)
        else:
            raise ValueError(f"under {heading!r}: a block of {language!r} that answers no commands")
    return found


def documents(text):
    """The JSON documents of a text, one after the other."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        yield document
        rest = rest[end:].lstrip()


def difference(expected, found, where="answer"):
    """Say where a JSON document isn't the expected one; an empty string if it is."""
    if isinstance(expected, dict) and isinstance(found, dict):
        more = "//" in expected
        expected = {key: value for key, value in expected.items() if key != "//"}
        if expected.keys() - found.keys() or (found.keys() - expected.keys() and not more):
            return f"{where}: keys {sorted(found)}, not {sorted(expected)}"
        return next(filter(None, (difference(expected[k], found[k], f"{where}.{k}") for k in expected)), "")
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{where}: {len(found)} elements, not {len(expected)}: {found}"
        pairs = enumerate(zip(expected, found, strict=True))
        return next(filter(None, (difference(*pair, f"{where}[{i}]") for i, pair in pairs)), "")
    return "" if same_value(expected, found) else f"{where}: {found!r}, not {expected!r}"


def same_value(expected, found):
    if isinstance(expected, float) and isinstance(found, float) and not math.isinf(expected):
        return (math.isnan(expected) and math.isnan(found)) or abs(expected - found) <= 1e-4
    return type(expected) is type(found) and expected == found


EXAMPLES = examples_from_page(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    repository = tmp_path_factory.mktemp("server") / "repository"
    # Python writes compiled files beside the models.
    shutil.copytree(REPOSITORY, repository)
    with start(ServerOptions(repository, *free_ports())) as running:
        yield running


@pytest.mark.skipif(not shutil.which("curl"), reason="curl isn't installed")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_prints_what_the_page_says(server, tmp_path, example):
    if re.search(r"\bjq\b", example.commands) and not shutil.which("jq"):
        pytest.skip("jq isn't installed")
    commands = example.commands.replace("http://localhost:8000", server.http_url)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        # Answers must not depend on who runs the test: no proxy, no ~/.curlrc.
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    printed = run.stdout.decode()
    assert run.returncode == 0, f"{printed}{run.stderr.decode()}"
    if example.language in {"text", ""}:
        assert printed.replace("\r\n", "\n").split() == example.answer.split()
    else:
        expected = list(documents(MORE.sub('"//": true', example.answer)))
        assert not difference(expected, list(documents(printed)))


def test_every_answer_of_the_page_follows_its_commands():
    assert len(EXAMPLES) > 20
    with pytest.raises(ValueError, match="answers no commands"):
        examples_from_page("# Title\n\n```json\n{}\n```\n")
    with pytest.raises(ValueError, match="answers no commands"):
        examples_from_page("```sh\ntrue\n```\n```json\n{}\n```\n```json\n{}\n```\n")


@pytest.mark.parametrize(
    ("expected", "found"),
    [('{"a": 1}', '{"a": 1, "b": 2}'), ('{"a": 1}', '{"a": 1.0}'), ("[0.5]", "[0.5002]"), ("[1]", "[1, 2]"),
     ('{"a": 1,\n// more\n}', '{"b": 1}'), ("[NaN]", "[0.0]"), ('"a"', '"b"'), ("1\n2", "1")],
)  # fmt: skip
def test_a_wrong_answer_is_seen(expected, found):
    assert difference(list(documents(MORE.sub('"//": true', expected))), list(documents(found)))


@pytest.mark.parametrize(
    ("expected", "found"),
    [('{"a": 1,\n// more\n}', '{"a": 1, "b": 2}'), ("[0.5, NaN]", "[0.50001, NaN]"), ("1\n2", "1 2"),
     ("[Infinity]", "[Infinity]")],
)  # fmt: skip
def test_a_right_answer_passes(expected, found):
    assert not difference(list(documents(MORE.sub('"//": true', expected))), list(documents(found)))
