"""The README's examples run as they stand, in its order, and print what it says."""

import re
from pathlib import Path

import pytest

import tritonpack_client
from tritonpack_client import errors

README = Path(__file__).parents[1] / "README.md"
URLS = ("127.0.0.1:8001", "gpu-1:8001", "gpu-2:8001")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def said(block):
    """What the comments say is printed: after a print, or on lines of their own below one."""
    after = r"^ *print\(.*\)  # (.*)$"
    alone = r"^# (.*)$"
    return [next(filter(None, found)) for found in re.findall(f"{after}|{alone}", block, re.MULTILINE)]


@pytest.mark.server
def test_every_example_runs_and_prints_what_it_says(tasks_url, capsys, monkeypatch, tmp_path):
    pytest.importorskip("opentelemetry", reason="the example of telemetry needs its packages")
    monkeypatch.chdir(tmp_path)
    for name in ("ca.pem", "client.pem", "client.key"):
        Path(name).write_text("no request is sent there")
    names = {"__name__": "readme"}
    examples = blocks("python")
    assert len(examples) > 10
    for number, example in enumerate(examples):
        for url in URLS:
            example = example.replace(url, tasks_url)  # noqa: PLW2901 (the same example)
        exec(compile(example, f"example {number}", "exec"), names)  # noqa: S102 (our own)
        assert capsys.readouterr().out.splitlines() == said(example)


def test_the_tree_of_errors_is_that_of_the_client():
    (tree,) = blocks("text")
    assert tree.strip() in errors.__doc__


def test_every_call_and_every_public_name_is_there():
    text = README.read_text(encoding="utf-8")
    calls = [name for name in vars(tritonpack_client.Client) if not name.startswith("_")]
    assert [name for name in calls if f"`{name}(" not in text] == []
    # What calls return without being named is told by its fields.
    unnamed = {"ModelLimits", "ModelState", "TensorSpec"}
    assert [name for name in tritonpack_client.__all__ if name not in text and name not in unnamed] == []
