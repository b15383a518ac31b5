"""The command line: it translates options into calls and results into tables, and nothing else."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from tritonpack.core.errors import TritonpackError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "bench": ("tritonpack.cli.bench", "Load-test a served model: table, JSON and HTML."),
    "build": ("tritonpack.cli.build", "Build a recipe: PyTorch -> ONNX -> precision -> engine -> repository."),
    "debug": ("tritonpack.cli.debug", "Find where a rewritten graph first parts from FP32, and why."),
    "doctor": ("tritonpack.cli.doctor", "Say what is installed, what is missing and how to get it."),
    "errors": ("tritonpack.cli.errors", "Show the samples that a target answers otherwise than FP32."),
    "evaluate": ("tritonpack.cli.evaluate", "Measure targets on labelled data, with intervals, beside FP32."),
    "infer": ("tritonpack.cli.infer", "Send texts to a served model and show the answer."),
    "inspect": ("tritonpack.cli.inspect", "Show what a model repository holds and where each file came from."),
    "new": ("tritonpack.cli.new", "Write a recipe for a model from what its files say."),
    "plan": ("tritonpack.cli.build", "Show what a build would run, hit or miss, without running it."),
    "serve": ("tritonpack.cli.serve", "Serve a model repository with a real tritonserver, without Docker."),
    "status": ("tritonpack.cli.serve", "Show the servers that run and the state of their models."),
    "stop": ("tritonpack.cli.serve", "Stop a server that `serve --detach` started."),
    "tune": ("tritonpack.cli.tune", "Search the settings that serve the most inside an objective (--slo)."),
}
"""Command name -> (module that defines a click command of that name, one line of help).

The help lives here so that `tritonpack --help` imports no command.
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, in alphabetical order."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing one."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tritonpack", prog_name="tritonpack")
def cli() -> None:
    """From a PyTorch model to a served, verified, load-tested Triton deployment.

    Exit codes: 0 done, 1 a bug, 2 configuration, 3 unsupported here, 4 a stage of the build
    failed, 5 store or repository, 6 server or load test.
    """


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run the command line; the only place that turns an error into a message and an exit code."""
    try:
        return cli.main(args=arguments)
    except TritonpackError as error:
        from tritonpack.cli.output import print_error

        print_error(error)
        raise SystemExit(error.exit_code) from error
