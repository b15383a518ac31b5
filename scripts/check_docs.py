"""The documentation's checks: links lead somewhere, commands and options exist, decisions are numbered in a row."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tritonpack.cli import cli

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
CODE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Print every problem; 1 if there is any."""
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(p for p in (ROOT / "clients").rglob("*.md") if "node_modules" not in p.parts),
    ]
    problems = [problem for page in sorted(pages) for problem in [*links(page), *commands(page)]]
    problems += decisions()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"documentation: {len(pages)} pages, {len(problems)} problems")
    return 1 if problems else 0


def links(page: Path) -> Iterator[str]:
    """Relative links that lead nowhere."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not (page.parent / target).exists():
            yield f"{page.relative_to(ROOT)}: link to {target} leads nowhere"


def commands(page: Path) -> Iterator[str]:
    """Lines of code blocks that call `tritonpack` with a command or an option that doesn't exist."""
    for block in CODE.findall(page.read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("tritonpack "):
                problem = unknown_part(shlex.split(line, comments=True)[1:])
                if problem:
                    yield f"{page.relative_to(ROOT)}: `{line}`: {problem}"


def unknown_part(words: list[str]) -> str:
    """The first word that the command line doesn't know, or an empty string."""
    name = words[0]
    context = click.Context(cli)
    command = cli.get_command(context, name)
    if command is None:
        return "" if name.startswith("--") else f"there is no command '{name}'"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words[1:] if word.startswith("-") and word.split("=")[0] not in {*known, "--help"}]
    return f"there is no option {unknown[0]}" if unknown else ""


def decisions() -> list[str]:
    """Gaps in the numbers of the decision records."""
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    return [] if numbers == list(range(1, len(numbers) + 1)) else [f"docs/adr: numbers {numbers} aren't in a row"]


if __name__ == "__main__":
    sys.exit(main())
