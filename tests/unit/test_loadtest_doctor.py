"""`tritonpack doctor`: what it says and its exit code."""

import json

import pytest

from tritonpack import doctor
from tritonpack.cli import main
from tritonpack.doctor import Finding, State


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as raised:
        main(["doctor", *arguments])
    return raised.value.code, capsys.readouterr().out


def test_every_engine_is_named_and_what_is_missing_says_how_to_get_it():
    findings = doctor.examine()
    parts = [finding.part for finding in findings]
    assert {"engine onnxruntime", "engine tensorrt", "engine tensorrt_rtx", "perf_analyzer"} <= set(parts)
    assert parts == [finding.part for finding in doctor.examine()]
    assert all(finding.how for finding in findings if finding.state is not State.FOUND)
    assert all(finding.detail for finding in findings)


def test_a_bare_home_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path))
    monkeypatch.setattr("tritonpack.loadtest.install.shutil.which", lambda _: None)
    states = {finding.part: finding.state for finding in doctor.examine()}
    assert states["embedded server"] is State.ON_DEMAND
    assert not any(finding.stops_default_path for finding in doctor.examine())
    assert list(tmp_path.iterdir()) == []


def test_the_exit_code_follows_what_is_needed(monkeypatch, capsys):
    optional = Finding("GPU", State.MISSING, "none", "buy [one]")
    needed = Finding("libpython", State.MISSING, "not here", "install it", needed=True)
    monkeypatch.setattr("tritonpack.cli.doctor.examine", lambda: [optional])
    code, printed = run(capsys)
    assert code == 0
    assert "buy [one]" in printed
    monkeypatch.setattr("tritonpack.cli.doctor.examine", lambda: [optional, needed])
    code, printed = run(capsys, "--json")
    assert code == 3
    document = json.loads(printed)
    assert document["ok"] is False
    assert document["parts"][1] == {
        "part": "libpython", "state": "missing", "detail": "not here", "how": "install it", "needed": True,
    }  # fmt: skip
