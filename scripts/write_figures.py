"""Write the figures of docs/benchmarks.json into docs/benchmarks.md and into the README, between its markers.

    <!-- figures:NAME -->
    ...
    <!-- /figures -->

With ``--check`` nothing is written, and the exit code is 1 where a document says something else than the figures.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from comparing.page import page_from_document  # noqa: E402  the benchmarks aren't a package
from comparing.tables import readme_tables  # noqa: E402

FIGURES = ROOT / "docs" / "benchmarks.json"
MARKED = re.compile(r"(<!-- figures:([a-z_]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write, or compare; 1 if they differ."""
    if not FIGURES.is_file():
        print(f"{FIGURES.relative_to(ROOT)} isn't there: make bench writes it")
        return 0
    readme = ROOT / "README.md"
    figures = readme_tables(json.loads(FIGURES.read_text(encoding="utf-8")))
    wanted = {
        ROOT / "docs" / "benchmarks.md": page_from_document(FIGURES),
        readme: with_figures(readme.read_text(encoding="utf-8"), figures),
    }
    differing = [page for page, text in wanted.items() if not page.is_file() or page.read_text("utf-8") != text]
    if "--check" in arguments:
        for page in differing:
            print(f"{page.relative_to(ROOT)} doesn't agree with {FIGURES.name}: python scripts/write_figures.py")
        return 1 if differing else 0
    for page in differing:
        page.write_text(wanted[page], encoding="utf-8")
        print(f"{page.relative_to(ROOT)} written")
    return 0


def with_figures(text: str, figures: dict[str, str]) -> str:
    """Put each table between its markers.

    Args:
        text: the document.
        figures: tables by name.

    Raises:
        SystemExit: a marker names no table.
    """

    def filled(found: re.Match[str]) -> str:
        if found[2] not in figures:
            raise SystemExit(f"<!-- figures:{found[2]} --> names no table; there are {', '.join(figures)}")
        return f"{found[1]}{figures[found[2]]}\n{found[3]}"

    return MARKED.sub(filled, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
