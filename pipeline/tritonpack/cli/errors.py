"""`tritonpack errors`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows

if TYPE_CHECKING:
    from tritonpack.reports.documents import ErrorReport, Sample, Slice

_SHOWN_CHARACTERS = 60


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--target", metavar="NAME", help="A target of the recipe. Default: the first.")
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the page with a table to sort and to filter.")  # fmt: skip
@click.option("--most", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
              help="Samples that are printed; --json and --html have all.")  # fmt: skip
@click.option("--store", type=click.Path(path_type=Path),
              help="Artifacts are kept here. Default: ~/.cache/tritonpack/store.")  # fmt: skip
@json_option
def errors(
    recipe: Path, target: str | None, html_file: Path | None, most: int, store: Path | None, as_json: bool
) -> None:
    """Show which samples a target of RECIPE answers otherwise than FP32, the worst first, and in which slices.

    The data is that of the recipe's accuracy gate. Exit codes: 0 done, 2 the recipe, its data or an option is wrong, 3
    the target can't be built here, 4 a stage failed, 5 the store or FILE can't be written.
    """
    from tritonpack import assess
    from tritonpack.cli.progress import watching
    from tritonpack.recipe import load_recipe

    loaded = load_recipe(recipe)
    with watching(quiet=as_json) as observer:
        found = assess.errors(loaded, target or loaded.default_target, store=store, observer=observer)
    if html_file is not None:
        from tritonpack.reports.errors import html_from_errors
        from tritonpack.reports.page import write_page

        write_page(html_from_errors(found), html_file)
    if as_json:
        print_json(found.to_json() | ({} if html_file is None else {"html": html_file}))
        return
    print_errors(found, most)
    if html_file is not None:
        stdout().print(f"report  {html_file}", markup=False)


def print_errors(found: ErrorReport, most: int) -> None:
    """Print the slices and the samples whose loss grew most."""
    from rich.markup import escape

    console = stdout()
    title = f"{found.recipe}: {found.candidate} against {found.baseline}, {found.metric} by slice"
    columns = ("slice", "part", ">samples", ">changed", f">{found.baseline}", f">{found.candidate}", ">difference")
    if found.slices:
        rows = ([escape(cell) for cell in _slice_row(part)] for part in found.slices)
        console.print(table_from_rows(escape(title), [escape(column) for column in columns], rows))
        console.print()
    shown = found.samples[:most]
    if shown:
        names = (">sample", *shown[0].inputs, "expected", found.baseline, found.candidate, ">loss grows")
        rows = ([escape(cell) for cell in _sample_row(sample)] for sample in shown)
        heading = f"{len(shown)} of {len(found.samples):,} samples that are answered otherwise or worse"
        console.print(table_from_rows(heading, [escape(name) for name in names], rows))
    console.print(
        f"{found.changed:,} of {found.total:,} answers changed, {found.worse:,} have a greater loss; "
        f"held against {found.against}"
    )


def _slice_row(part: Slice) -> tuple[str, ...]:
    figures = ("-" if value is None else f"{value:.4f}" for value in (part.baseline, part.candidate))
    return (part.name, part.value, f"{part.samples:,}", f"{part.changed:,}", *figures, _signed(part.difference))


def _sample_row(sample: Sample) -> tuple[str, ...]:
    texts = (*sample.inputs.values(), sample.expected, sample.baseline, sample.candidate)
    return (str(sample.index), *map(_shortened, texts), _signed(sample.growth))


def _signed(value: float | None) -> str:
    """A rounding below what is shown is no difference, and has no sign."""
    if value is None:
        return "-"
    return "0" if round(value, 4) == 0 else f"{value:+.4f}"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
