"""The cases with every language's client, against one server: the matrix of ``make test-clients``.

python clients/conformance/run.py [--language sync]... [--only WORDS]... [--json]

Ends with 0 if every case passed, and else with 1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_server import HERE, running_control, running_server
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TYPESCRIPT = HERE.parent / "typescript" / "dist-test" / "conformance" / "run.js"

RUNNERS = {
    "sync": [sys.executable, str(HERE / "run_python.py"), "--client", "sync"],
    "async": [sys.executable, str(HERE / "run_python.py"), "--client", "async"],
    "typescript": ["node", str(TYPESCRIPT)],
}
"""Client -> the command of its runner."""

_TIMEOUT_S = 600


def main() -> int:
    """Read the command line, run, and print the matrix."""
    parser = argparse.ArgumentParser(description="the conformance cases with every language's client")
    parser.add_argument("--language", action="append", choices=[*RUNNERS, "python"], help="one client; repeatable")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="cases of these names; repeatable")
    parser.add_argument("--json", action="store_true", help="one line of JSON a case and client")
    options = parser.parse_args()
    languages = chosen_languages(options.language or list(RUNNERS))
    if "typescript" in languages and (missing := missing_for_typescript()):
        Console(stderr=True).print(missing, highlight=False)
        return 1
    outcomes = list(run(languages, options.only, print_json=options.json))
    if not options.json:
        print_matrix(outcomes, languages)
    return 0 if outcomes and all(outcome["passed"] for outcome in outcomes) else 1


def chosen_languages(names: Sequence[str]) -> list[str]:
    """Turn "python" into its two clients; each once, in the order of ``RUNNERS``."""
    wanted = {*names, *(("sync", "async") if "python" in names else ())}
    return [name for name in RUNNERS if name in wanted]


def missing_for_typescript() -> str:
    """Say what the TypeScript runner lacks; an empty string if it lacks nothing."""
    if shutil.which("node") is None:
        return "The TypeScript client needs Node.js 20 or later; LANGUAGES=python (--language python) leaves it out."
    if not TYPESCRIPT.exists() or not (HERE.parent / "typescript" / "node_modules").is_dir():
        return "The TypeScript client isn't built: `npm ci && npm run build` in clients/typescript."
    return ""


def run(languages: Sequence[str], only: Sequence[str] = (), *, print_json: bool = False) -> Iterator[dict[str, Any]]:
    """Run the cases, language after language; an outcome for each case that a runner should have told of."""
    with tempfile.TemporaryDirectory() as folder, running_server() as server, running_control(server) as control:
        paths, names = chosen_cases(only, Path(folder))
        job = json.dumps({"server": server, "control": control, "cases": [str(path) for path in paths]})
        for language in languages:
            for outcome in run_language(RUNNERS[language], job, names):
                told = {"client": language, **outcome}
                if print_json:
                    print(json.dumps(told), flush=True)
                yield told


def chosen_cases(only: Sequence[str], folder: Path) -> tuple[list[Path], list[str]]:
    """Write the cases whose names hold one of the words, all without words, and give their files and names."""
    paths, names = [], []
    for path in sorted((HERE / "cases").glob("*.json")):
        cases = [case for case in json.loads(path.read_text(encoding="utf-8")) if is_chosen(case["name"], only)]
        names += [case["name"] for case in cases]
        paths.append(folder / path.name)
        paths[-1].write_text(json.dumps(cases), encoding="utf-8")
    return paths, names


def is_chosen(name: str, only: Sequence[str]) -> bool:
    """Whether a name holds one of the words, in any case of letters."""
    return not only or any(words.lower() in name.lower() for words in only)


def run_language(command: Sequence[str], job: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Run one runner; a case that it doesn't tell of failed."""
    try:
        ended = subprocess.run(command, input=job, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        output, words = ended.stdout, f"it ended with {ended.returncode}: {ended.stderr[-500:]}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        words = f"it wasn't done after {_TIMEOUT_S} s"
    told = {outcome["name"]: outcome for outcome in map(json.loads, output.splitlines())}
    untold = [name for name in names if name not in told]
    whys = [f"the runner says nothing of it{f'; {words}' if place == 0 else ''}" for place in range(len(untold))]
    for name, why in zip(untold, whys, strict=True):
        told[name] = {"name": name, "passed": False, "why": why, "took_s": 0.0}
    return [told[name] for name in names]


def print_matrix(outcomes: Sequence[dict[str, Any]], languages: Sequence[str]) -> None:
    """Print a row a case, a column a client, then why cases failed and how many passed."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("case", *languages)
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome["name"], {})[outcome["client"]] = outcome
    for name, row in rows.items():
        table.add_row(escape(name), *(_cell(row[language]) for language in languages))
    console.print(table)
    for outcome in outcomes:
        if not outcome["passed"]:
            console.print(f"[red]{outcome['client']}: {escape(outcome['name'])}[/]: {escape(outcome['why'])}")
    passed = Counter(outcome["client"] for outcome in outcomes if outcome["passed"])
    console.print(", ".join(f"{language}: {passed[language]} of {len(rows)} passed" for language in languages))


def _cell(outcome: dict[str, Any]) -> str:
    return f"{'[green]ok[/]' if outcome['passed'] else '[red]failed[/]'} {outcome['took_s']:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
