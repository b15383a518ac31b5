"""Every case passes with every client."""

import json

import pytest
from local_server import running_control
from run import RUNNERS, chosen_cases, chosen_languages, missing_for_typescript, run_language

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.mark.parametrize("language", RUNNERS)
def test_every_case_passes(language, server, tmp_path):
    if language == "typescript" and (missing := missing_for_typescript()):
        pytest.skip(missing)
    paths, names = chosen_cases([], tmp_path)
    with running_control(server) as control:
        job = {"server": server, "control": control, "cases": [str(path) for path in paths]}
        outcomes = run_language(RUNNERS[language], json.dumps(job), names)
    assert len(outcomes) == len(names)
    assert [(outcome["name"], outcome["why"]) for outcome in outcomes if not outcome["passed"]] == []


def test_a_runner_that_says_nothing_has_failed():
    program = """print('{"name": "told", "passed": true, "why": "", "took_s": 0}'); raise SystemExit("broken")"""
    outcomes = run_language([*RUNNERS["sync"][:1], "-c", program], "{}", ["told", "untold", "untold too"])
    assert [outcome["passed"] for outcome in outcomes] == [True, False, False]
    assert "it ended with 1: broken" in outcomes[1]["why"]


def test_cases_are_chosen_by_words_of_their_names(tmp_path):
    paths, names = chosen_cases(["RESET", "no rows of BYTES"], tmp_path)
    assert "one reset before an answer" in names
    assert "no rows of BYTES" in names
    assert "embed one text" not in names
    assert sum(len(json.loads(path.read_text())) for path in paths) == len(names)


def test_python_is_two_clients():
    assert chosen_languages(["python"]) == ["sync", "async"]
    assert chosen_languages(["typescript", "sync"]) == ["sync", "typescript"]
