"""A recipe for a model that nobody described yet, from the files that lie beside its weights.

What a file says is a `Finding`; what none says is assumed, or left open, and told in a `Notice`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import RecipeError, SourceError
from tritonpack.core.resources import PACKAGE_PREFIX, path_from_location
from tritonpack.proposal.details import LONGEST, add_details, add_max_length
from tritonpack.proposal.files import read_files
from tritonpack.proposal.findings import ASSUMED, Finding, Findings, Notice
from tritonpack.proposal.kinds import task_of
from tritonpack.proposal.written import document_from_findings, refuse_existing, text_from_findings, write_recipe
from tritonpack.recipe import recipe_from_document
from tritonpack.sources.huggingface import HuggingFaceOptions, model_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ASSUMED", "LONGEST", "TARGETS", "Finding", "Notice", "Proposal", "propose"]

TARGETS = {
    "cpu": {"engine": "onnxruntime", "precision": "int8_dynamic"},
    "gpu": {"engine": "tensorrt", "precision": "fp16"},
    "rtx": {"engine": "tensorrt_rtx", "precision": "fp16"},
}
"""The targets that a proposal may have; the first is what `tritonpack build` builds."""

_COMMIT = re.compile(r"^[0-9a-f]{40}$")
# Folders that say nothing of the model in them.
_NAMELESS = re.compile(r"^(models?|checkpoints?(-\d+)?|snapshots?|weights|final|best|output|hf|[0-9a-f]{40})$")


@dataclass(frozen=True)
class Proposal:
    """A recipe that isn't written yet.

    Args:
        path: where it is to be written.
        found: its values, and where each comes from.
        notices: what the files don't tell.
    """

    path: Path
    found: tuple[Finding, ...]
    notices: tuple[Notice, ...]

    @property
    def document(self) -> dict[str, Any]:
        """The recipe as data."""
        return document_from_findings(self.found)

    @property
    def text(self) -> str:
        """The recipe as YAML."""
        return text_from_findings(self.found, self.notices)

    @property
    def ready(self) -> bool:
        """Whether nothing is left to decide."""
        return not any(notice.decide for notice in self.notices)

    def write(self, *, force: bool = False) -> None:
        """Write the file, proved.

        Raises:
            RecipeError: it is there already and isn't to be overwritten, or model and recipe don't fit.
            SourceError: weights or tokenizer aren't there.
        """
        undecided = [notice.field for notice in self.notices if notice.decide]
        write_recipe(self.text, self.path, undecided, force=force)


def propose(
    location: str,
    *,
    output: Path | None = None,
    name: str | None = None,
    task: str | None = None,
    targets: Sequence[str] = (),
    force: bool = False,
) -> Proposal:
    """Look at a model's files; nothing is loaded and nothing is written.

    Args:
        location: a directory, ``package:NAME/PATH`` or a hub name.
        output: the recipe's file; None means ``<name>.yaml`` in the current folder.
        name: of the served ensemble; None means the directory's.
        task: its kind; None means what the files tell.
        targets: of `TARGETS`; none means all.
        force: whether ``output`` may be there already.

    Raises:
        SourceError: there is no model of `transformers`.
        RecipeError: the name, the task or the place of the recipe is wrong.
        UnsupportedError: no task fits the model.
    """
    found = Findings()
    directory = _found_directory(location)
    files = read_files(directory)
    found.add("name", name or _name_of(location, directory), "--name" if name else "")
    path = output or Path(f"{found.found[0].value}.yaml")
    _add_source(location, directory, path, found)
    if "auto_map" in files.config:
        found.assume(
            "source.trust_remote_code",
            value=False,
            why="the model brings code of its own (config.json: auto_map), which a build would run",
            check=f"Read the .py files in {directory}; true, if you trust them. The build stops without it.",
            decide=True,
        )
    kind = task_of(files, task, found)
    add_details(kind, files, found)
    add_max_length(files, found)
    for target, spec in TARGETS.items():
        if not targets or target in targets:
            found.add(f"targets.{target}", spec, "")
    recipe_from_document(document_from_findings(found.found), origin="the proposed recipe")
    refuse_existing(path, force=force)
    return Proposal(path, tuple(found.found), tuple(found.notices))


def _found_directory(location: str) -> Path:
    if Path(location).expanduser().is_file():
        raise SourceError(f"{location} is a file", hint="Give the model's directory.", field="source.model")
    try:
        return model_directory(HuggingFaceOptions(kind="huggingface", model=location), Path.cwd())
    except SourceError as error:
        error.context.setdefault("field", "source.model")
        raise


def _add_source(location: str, directory: Path, recipe: Path, found: Findings) -> None:
    """The source's fields: a relative path starts from the recipe's folder, a hub name is pinned."""
    found.add("source.kind", "huggingface", "config.json")
    if location.startswith((PACKAGE_PREFIX, "~")) or Path(location).is_absolute():
        found.add("source.model", location, "")
        return
    if path_from_location(location, Path.cwd()).is_dir():
        relative = Path(os.path.relpath(directory, recipe.resolve().parent)).as_posix()
        found.add("source.model", relative if relative.startswith(".") else f"./{relative}", "")
        return
    found.add("source.model", location, "the hub")
    if _COMMIT.match(directory.name):
        found.add("source.revision", directory.name, "the hub's newest, pinned")


def _name_of(location: str, directory: Path) -> str:
    """The name of the nearest folder that has one; letters that a served model's name can't have become ``-``."""
    if location.startswith(PACKAGE_PREFIX):
        parts = location.removeprefix(PACKAGE_PREFIX).split("/")
    elif _COMMIT.match(directory.name):
        parts = location.rstrip("/").split("/")
    else:
        parts = list(directory.resolve().parts[1:])
    slugs = [slug for part in reversed(parts) if (slug := _slug(part))]
    if not slugs:
        raise RecipeError(f"no name can be made of {location}", hint="Give --name.", field="name")
    return next((slug for slug in slugs if not _NAMELESS.match(slug)), slugs[0])


def _slug(part: str) -> str:
    plain = unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_")
