"""A tiny model, its recipe, and a store in which every target was built once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import TARGETS, recipe_document, write_bert, write_recipe, write_texts

from tritonpack.api import Build, build
from tritonpack.recipe import load_recipe

if TYPE_CHECKING:
    from tritonpack.recipe import Recipe


@dataclass(frozen=True)
class Project:
    """A folder with a recipe, a store and a model repository."""

    root: Path
    document: dict[str, Any]

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def repository(self) -> Path:
        return self.root / "models"

    @property
    def path(self) -> Path:
        return self.root / "tiny.yaml"

    def recipe(self, **changes: Any) -> Recipe:
        """The recipe with other top-level fields, also written to its file; gates are added to its own."""
        gates = {**self.document["gates"], **changes.pop("gates", {})}
        return load_recipe(write_recipe(self.path, {**self.document, "gates": gates, **changes}))

    def build(self, *targets: str, **changes: Any) -> Build:
        return build(self.recipe(**changes), targets, repository=self.repository, store=self.store)

    def command(self, verb: str, *arguments: str) -> list[str]:
        """The command line on this project, for a process of its own."""
        places = ["--store", str(self.store)]
        if verb == "build":
            places += ["--repository", str(self.repository)]
        return [sys.executable, "-m", "tritonpack.cli", verb, str(self.path), *places, *arguments]

    def run(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(verb, *arguments), capture_output=True, text=True, check=False)

    def document_of(self, verb: str, *arguments: str) -> Any:
        """What the command prints with ``--json``."""
        result = self.run(verb, *arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


def outcomes(result: Build) -> set[str]:
    return {step.outcome.value for step in result.steps}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Every target built from nothing: the project and what the build said."""
    root = tmp_path_factory.mktemp("project")
    project = Project(root, recipe_document(write_bert(root / "model"), write_texts(root)))
    return project, project.build(*TARGETS)


@pytest.fixture
def project(built, tmp_path):
    """A project of its own that starts with the full store and an empty repository."""
    source, _ = built
    shutil.copytree(source.store, tmp_path / "store", ignore=shutil.ignore_patterns("locks"))
    made = Project(tmp_path, source.document)
    made.recipe()
    return made


@pytest.fixture
def fresh(built, tmp_path_factory):
    """A project of its own with an empty store."""
    made = Project(tmp_path_factory.mktemp("fresh"), built[0].document)
    made.recipe()
    return made
