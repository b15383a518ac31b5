"""The page of an error analysis: slices, and a table of samples to sort and to filter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tritonpack.reports.page import page_from_template

if TYPE_CHECKING:
    from tritonpack.reports.documents import ErrorReport

_TEMPLATE = Path(__file__).with_name("errors.html.j2")
_MOST_ROWS = 1000
_SHORT = 220
"""Characters of a text that are shown before it is unfolded."""


def html_from_errors(report: ErrorReport) -> str:
    """Draw the page; of very many samples it shows those whose loss grew most.

    Raises:
        MissingExtraError: jinja2 isn't installed.
    """
    rows = report.samples[:_MOST_ROWS]
    names = list(dict.fromkeys(part.name for part in report.slices))
    return page_from_template(
        _TEMPLATE,
        report=report,
        rows=rows,
        inputs=list(rows[0].inputs) if rows else [],
        choices={name: [part.value for part in report.slices if part.name == name and part.samples] for name in names},
        cut=cut,
    )


def cut(text: str) -> tuple[str, str]:
    """What is shown of a text, and what follows when it is unfolded; the second is empty for most."""
    if len(text) <= _SHORT:
        return text, ""
    end = text.rfind(" ", _SHORT // 2, _SHORT)
    end = _SHORT if end < 0 else end
    return text[:end], text[end:]
