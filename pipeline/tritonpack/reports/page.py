"""Pages in the house's look: one file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FOLDER = Path(__file__).parent
_HINT = "pip install 'tritonpack[evaluation]'"


def page_from_template(
    template: Path, *, filters: Mapping[str, Callable[..., str]] | None = None, hint: str = _HINT, **values: Any
) -> str:
    """Fill a template in; values are escaped.

    Args:
        template: a file that extends ``base.html.j2`` of this folder.
        filters: of the template, by name.
        hint: how to install jinja2.
        values: what the template reads; a name that it lacks is a bug.

    Raises:
        MissingExtraError: jinja2 isn't installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("the HTML report needs jinja2", hint=hint, package="jinja2") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, **(filters or {})}
    return environment.get_template(template.name).render(**values)


def write_page(page: str, file: Path, *, option: str = "--html") -> None:
    """Write a page, and the folder that it goes to.

    Raises:
        StoreError: the file can't be written; ``option`` named it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the report can't be written to {file}: {error.strerror}", hint=f"name another file with {option}"
        ) from error


def number(value: float | None) -> str:
    """Four decimals; a dash for what isn't known."""
    return "–" if value is None else f"{value:.4f}"  # noqa: RUF001  a dash, as people write it


def signed(value: float | None) -> str:
    """Four decimals and a sign; a dash for what isn't known."""
    if value is None:
        return number(value)
    return "0.0000" if abs(value) < 0.00005 else f"{value:+.4f}".replace("-", "\u2212")  # noqa: PLR2004  rounds to 0
