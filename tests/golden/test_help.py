"""What `--help` says, so that no option changes by accident."""

from __future__ import annotations

import importlib.util

import pytest
from click.testing import CliRunner

from tritonpack.cli import _COMMANDS, cli

COMMANDS = [name for name, (module, _) in _COMMANDS.items() if importlib.util.find_spec(module) is not None]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(golden, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "100")
    result = CliRunner().invoke(cli, [*command.split(), "--help"], prog_name="tritonpack")
    assert result.exit_code == 0
    golden(f"help/{command or 'tritonpack'}.txt", result.output)


def test_every_command_that_the_help_promises_is_there():
    assert sorted(COMMANDS) == sorted(_COMMANDS)
