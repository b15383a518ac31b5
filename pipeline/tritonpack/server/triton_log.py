"""Read Triton's log: what went wrong, and with which model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LINES = 15
_ERROR = re.compile(r"^E\d{4} \S+ \d+ [\w.]+:\d+\] (?P<message>.*)$")
_PARSER = re.compile(r"^\[libprotobuf ERROR [^\]]*\] (?P<message>.*)$")
# An ensemble can't load because one of its models can't: that one is to be named.
_CONSEQUENCE = re.compile(r"contains models that are not available|depends on '")


def log_tail(log: Path, lines: int = LINES) -> str:
    """Read the last lines, without the tables that Triton draws."""
    return "\n".join(_lines(log)[-lines:]) or "(the log is empty)"


def log_errors(log: Path) -> list[str]:
    """Read the errors, oldest first; what the parser of configurations says goes with the error after it."""
    errors: list[str] = []
    detail = ""
    for line in _lines(log):
        if found := _PARSER.match(line):
            detail = found["message"]
        elif found := _ERROR.match(line):
            message = found["message"].strip().strip('"')
            errors.append(f"{message}: {detail}" if detail and "text proto" in message else message)
    return errors


def reason_for_model(log: Path, model: str) -> str:
    """Find why a model isn't there in the log, or an empty text."""
    named = re.compile(rf"(?<![\w-]){re.escape(model)}(?![\w-])")
    return next((error for error in log_errors(log) if named.search(error)), "")


def is_consequence(reason: str) -> bool:
    """Whether a reason only says that another model isn't there."""
    return bool(_CONSEQUENCE.search(reason))


def _lines(log: Path) -> list[str]:
    if not log.is_file():
        return []
    text = log.read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip() and line[0] not in "+|"]
