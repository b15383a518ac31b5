"""A proposal as a YAML file: short comments, fixed order, proved before it is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import yaml

from tritonpack.actions import actions_for
from tritonpack.core.errors import RecipeError, SourceError, UnsupportedError
from tritonpack.core.home import home
from tritonpack.proposal.findings import ASSUMED
from tritonpack.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tritonpack.proposal.findings import Finding, Notice
    from tritonpack.recipe import Recipe

SECTIONS = ("name", "source", "task", "input", "export", "targets")
_COMMENT = 110
_HEADER = (
    "# Proposed by `tritonpack new` from the model's files. What is marked 'assumed' none of them says.\n"
    "# recipes/recipe.schema.json describes every field; `tritonpack plan` shows what a build would run.\n"
)


def document_from_findings(found: Sequence[Finding]) -> dict[str, Any]:
    """The recipe as data, sections in their order."""
    document: dict[str, Any] = {}
    for section in SECTIONS:
        for finding in found:
            first, _, rest = finding.field.partition(".")
            if first != section or not finding.written:
                continue
            if rest:
                document.setdefault(section, {})[rest] = finding.value
            else:
                document[section] = finding.value
    return document


def text_from_findings(found: Sequence[Finding], notices: Sequence[Notice]) -> str:
    """The recipe as YAML."""
    blocks = [_block(section, found, notices) for section in SECTIONS]
    return _HEADER + "\n".join(blocks)


def write_recipe(text: str, path: Path, undecided: Sequence[str], *, force: bool) -> None:
    """Write the file, whole or not at all, once `load_recipe` takes it and `plan` would.

    Args:
        text: the YAML.
        path: where; its folder must be there.
        undecided: fields that the user has yet to decide; they are left out of the proof.
        force: overwrite what is there.

    Raises:
        RecipeError: the file is there already, or can't be written; or a field is wrong.
        SourceError: the model isn't whole.
    """
    refuse_existing(path, force=force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        prove(load_recipe(temporary), undecided)
        refuse_existing(path, force=force)
        temporary.replace(path)
    except OSError as error:
        raise RecipeError(
            f"{path} can't be written: {error.strerror or error}", hint="Give another --output.", field="--output"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse a place where the recipe can't or mustn't go.

    Raises:
        RecipeError: it is taken, or its folder isn't there.
    """
    if path.is_dir() or (path.exists() and not force):
        what = "is a directory" if path.is_dir() else "is there already"
        raise RecipeError(f"{path} {what}", hint="Give another --output, or --force for a file.", field="--output")
    if not path.parent.is_dir():
        raise RecipeError(
            f"folder {path.parent} isn't there", hint="Make it, or give another --output.", field="--output"
        )


def prove(recipe: Recipe, undecided: Sequence[str]) -> None:
    """Ask what `plan` asks: are weights and tokenizer there, does the head fit, does the longest row.

    Raises:
        RecipeError: the model and the recipe don't fit.
        SourceError: something isn't there.
    """
    changes: dict[str, Any] = {}
    if "source.trust_remote_code" in undecided:  # finding the model runs none of its code
        changes["source"] = recipe.source.model_copy(update={"trust_remote_code": True})
    if "task.labels" in undecided:
        changes["task"] = recipe.task.model_copy(update={"labels": ("?",)})
    try:
        actions_for(recipe.model_copy(update=changes), recipe.default_target, home() / "store")
    except SourceError as error:
        error.context.setdefault("field", "source.model")
        raise
    except UnsupportedError:
        # An engine or a package that this machine lacks; the model was looked at before that.
        return


def _block(section: str, found: Sequence[Finding], notices: Sequence[Notice]) -> str:
    lines = [] if section == "name" else [f"{section}:"]
    for finding in found:
        if finding.field.partition(".")[0] != section:
            continue
        lines.append(_line(finding, notices))
    asked = [n for n in notices if n.decide and n.field.startswith(f"{section}.") and not _is_found(n.field, found)]
    lines.extend(f"  # {n.field.partition('.')[2]}: to decide. {_one_line(n.check)}" for n in asked)
    return "\n".join([*lines, ""])


def _is_found(field: str, found: Sequence[Finding]) -> bool:
    return any(finding.field == field for finding in found)


def _line(finding: Finding, notices: Sequence[Notice]) -> str:
    key = finding.field.partition(".")[2]
    indent = "  " if key else ""
    if not finding.written:
        return f"{indent}# {key}: the model's own, {_one_line(yaml_value(finding.value))}"
    comment = finding.origin
    if finding.origin == ASSUMED:
        notice = next(notice for notice in notices if notice.field == finding.field)
        comment = f"{'assumed, to decide' if notice.decide else ASSUMED}: {notice.why}"
    line = f"{indent}{key or finding.field}: {yaml_value(finding.value)}"
    return f"{line}  # {_one_line(comment)}" if comment else line


def yaml_value(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _one_line(text: str) -> str:
    """Without anything that would end a comment: labels and names are the model's makers' own."""
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return words if len(words) <= _COMMENT else f"{words[: _COMMENT - 3]}..."
