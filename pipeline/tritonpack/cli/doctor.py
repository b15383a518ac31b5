"""`tritonpack doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.markup import escape

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows
from tritonpack.core.errors import UnsupportedError
from tritonpack.doctor import Finding, State, examine

_STYLES = {State.FOUND: "green", State.ON_DEMAND: "cyan", State.MISSING: "yellow"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing and how to get it.

    Ends with exit code 3 if something is missing that the default path needs: building for the CPU,
    serving without Docker and load-testing.
    """
    findings = examine()
    if as_json:
        print_json({"ok": not any(f.stops_default_path for f in findings), "parts": [asdict(f) for f in findings]})
    else:
        _print(findings)
    if any(finding.stops_default_path for finding in findings):
        raise SystemExit(UnsupportedError.exit_code)


def _print(findings: list[Finding]) -> None:
    console = stdout()
    rows = [(finding.part, _state(finding), escape(finding.detail)) for finding in findings]
    console.print(table_from_rows("This machine", ["part", "state", "version, place or reason"], rows))
    console.print()
    advice = [(finding.part, escape(finding.how)) for finding in findings if finding.how]
    console.print(table_from_rows("How to get the rest", ["part", "how"], advice))
    missing = [finding.part for finding in findings if finding.stops_default_path]
    console.print()
    if missing:
        console.print(f"[red]Not ready to build for the CPU, serve and load-test: {', '.join(missing)}[/]")
    else:
        console.print("[green]Ready to build for the CPU, serve and load-test.[/]")


def _state(finding: Finding) -> str:
    if finding.stops_default_path:
        return "[bold red]missing, needed[/]"
    return f"[{_STYLES[finding.state]}]{finding.state}[/]"
