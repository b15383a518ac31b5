"""`tritonpack new`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.text import Text

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows

if TYPE_CHECKING:
    from tritonpack.proposal import Proposal


@click.command()
@click.argument("model")
@click.option("--output", type=click.Path(path_type=Path), help="The recipe to write. Default: NAME.yaml here.")
@click.option("--name", help="Name of the served ensemble. Default: the directory's.")
@click.option("--task", metavar="KIND", help="What the model is for. Default: what its files tell.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(["cpu", "gpu", "rtx"]),
    help="A target of the recipe; may be repeated. Default: every one.",
)
@click.option("--force", is_flag=True, help="Overwrite a recipe that is there.")
@json_option
def new(
    model: str,
    output: Path | None,
    name: str | None,
    task: str | None,
    targets: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a recipe for MODEL: a directory, package:NAME/PATH or a hub name.

    Task, input and limits come from the files beside the weights; what they don't tell is said.
    """
    from tritonpack.proposal import propose

    proposal = propose(model, output=output, name=name, task=task, targets=targets, force=force)
    proposal.write(force=force)
    if as_json:
        print_json(
            {
                "recipe": str(proposal.path),
                "ready": proposal.ready,
                "document": proposal.document,
                "found": [asdict(finding) for finding in proposal.found],
                "notices": [asdict(notice) for notice in proposal.notices],
            }
        )
    else:
        _print(proposal)


def _print(proposal: Proposal) -> None:
    from tritonpack.proposal.written import yaml_value

    console = stdout()
    rows = [(f.field, escape(yaml_value(f.value)), escape(f.origin)) for f in proposal.found]
    console.print(table_from_rows(f"{proposal.document['name']}: what was found", ("field", "value", "from"), rows))
    console.print()
    for notice in sorted(proposal.notices, key=lambda notice: not notice.decide):
        # One line each, however long: programs and people search them by field.
        head = ("to decide  ", "bold red") if notice.decide else ("to check   ", "yellow")
        body = f"assumed {notice.assumed}, since {notice.why}. {notice.check}"
        console.print(Text.assemble(head, (f"{notice.field}: ", "bold"), body), soft_wrap=True)
    if proposal.notices:
        console.print()
    then = "tritonpack plan" if proposal.ready else "decide what is open there, then tritonpack plan"
    console.print(Text(f"recipe {proposal.path}: written; next: {then} {proposal.path}"), soft_wrap=True)
