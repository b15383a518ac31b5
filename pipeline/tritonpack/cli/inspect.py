"""`tritonpack inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows
from tritonpack.core.errors import ConfigurationError

_MEGABYTE = 1e6


@click.command()
@click.argument("repository", type=click.Path(path_type=Path), default=Path("model_repository"))
@json_option
def inspect(repository: Path, as_json: bool) -> None:
    """Show what REPOSITORY holds: models, targets, proofs, where each engine came from, and damage."""
    from tritonpack.repository.layout import damaged_files, read_manifest

    recipes = read_manifest(repository)["recipes"]
    if not recipes:
        raise ConfigurationError(
            f"{repository} holds no manifest.json that names a model", hint="Build one: tritonpack build RECIPE."
        )
    damage = {name: damaged_files(repository, name) for name in recipes}
    if as_json:
        print_json({"repository": str(repository), "recipes": recipes, "damaged": damage})
        return
    for name, entry in recipes.items():
        _print_recipe(name, entry, damage[name])


def _print_recipe(name: str, entry: dict[str, Any], damage: dict[str, str]) -> None:
    console = stdout()
    targets = [
        (
            target,
            f"{t['engine']} {t['precision']}",
            f"{entry['models']['encoder']}/{t['version']}/{t['file']}",
            f"{t['size'] / _MEGABYTE:.1f}",
            t["verification"][-1]["status"],
        )
        for target, t in entry["targets"].items()
    ]
    columns = ("target", "engine", "file", ">MB", "last proof")
    console.print(table_from_rows(f"{name}: {' -> '.join(_chain(entry))}", columns, targets))
    for target, t in entry["targets"].items():
        steps = [(s["stage"], s["description"], s["sha256"][:12], s["identity"]) for s in t["lineage"]]
        console.print()
        console.print(table_from_rows(f"lineage of {target}", ("stage", "step", "sha256", "tools"), steps))
    console.print()
    for path, state in damage.items():
        console.print(Text.assemble((f"{state}: ", "bold red"), path))
    if not damage:
        console.print(f"{len(entry['files'])} files, each as the manifest says")
    console.print()


def _chain(entry: dict[str, Any]) -> list[str]:
    models = entry["models"]
    return [models[role] for role in ("preprocessor", "encoder", "postprocessor") if role in models]
