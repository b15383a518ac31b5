from __future__ import annotations

import inspect

import pytest

from tritonpack.core import errors
from tritonpack.core.errors import TritonpackError

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, TritonpackError) and value.__module__ == errors.__name__
}
EXIT_CODES = {
    "ConfigurationError": 2,
    "RecipeError": 2,
    "SourceError": 2,
    "UnsupportedError": 3,
    "MissingExtraError": 3,
    "StageError": 4,
    "CompressionError": 4,
    "ExportError": 4,
    "LoweringError": 4,
    "CompileError": 4,
    "VerificationError": 4,
    "StoreError": 5,
    "ServerError": 6,
    "PortInUseError": 6,
    "ModelLoadError": 6,
    "LoadTestError": 6,
}


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_every_error_exits_with_the_code_of_its_family(name, code):
    assert CLASSES[name].exit_code == code


def test_no_error_is_without_an_exit_code_of_the_contract():
    assert {name: kind.exit_code for name, kind in CLASSES.items()} == {"TritonpackError": 1, **EXIT_CODES}


def _drawn_tree() -> list[tuple[int, str, str]]:
    """Each line of the docstring's tree as (depth, class name, the rest)."""
    lines = []
    for line in (errors.__doc__ or "").splitlines():
        bare = line.lstrip(" │├└─")
        if bare.partition(" ")[0] in CLASSES:
            name, _, rest = bare.partition(" ")
            lines.append(((len(line) - len(bare)) // 4, name, rest.strip()))
    return lines


def test_the_docstring_draws_every_class_under_its_base():
    drawn = _drawn_tree()
    assert [name for _, name, _ in drawn] == list(CLASSES)
    path: list[str] = []
    for depth, name, _ in drawn:
        del path[depth - 1 :]
        assert [base.__name__ for base in CLASSES[name].__bases__] == (path[-1:] or ["Exception"])
        path.append(name)


def test_the_docstring_tells_each_familys_exit_code():
    told = {name: int(rest.split()[0]) for _, name, rest in _drawn_tree() if rest[:1].isdigit()}
    assert told == {
        "ConfigurationError": 2,
        "UnsupportedError": 3,
        "StageError": 4,
        "StoreError": 5,
        "ServerError": 6,
    }


def test_an_error_carries_message_hint_and_facts():
    error = errors.RecipeError("no 'taks'", hint="Did you mean 'task'?", field="taks", line=3)
    assert str(error) == error.message == "no 'taks'"
    assert error.hint == "Did you mean 'task'?"
    assert error.context == {"field": "taks", "line": 3}
