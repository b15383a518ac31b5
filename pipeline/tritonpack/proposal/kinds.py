"""Which task a model does: by its architecture's ending, unless its other files know better."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tritonpack.core.errors import UnsupportedError
from tritonpack.families import FAMILIES, family_of
from tritonpack.stages.fit import OTHER_HEADS, check_head
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from tritonpack.proposal.files import ModelFiles
    from tritonpack.proposal.findings import Findings

_BARE = re.compile(r"^(?!.*(For[A-Z]|Heads?Model)).+Model$")
_OTHER_MODALITIES = ("vision_config", "audio_config", "image_size", "num_mel_bins", "conv_kernel")


def task_of(files: ModelFiles, asked: str | None, found: Findings) -> str:
    """Find the task.

    Args:
        files: of the model.
        asked: the task that the user wants, if any.
        found: is told.

    Raises:
        RecipeError: the model lacks the head of the task that was asked for.
        UnsupportedError: no task fits the model.
    """
    _refuse_what_isnt_text(files)
    _note_family(files, found)
    kind = _asked(files, asked, found) if asked else _inferred(files, found)
    if _is_encoder_decoder(files):
        _note_decoder(files, kind, found)
    return kind


def _asked(files: ModelFiles, asked: str, found: Findings) -> str:
    TASKS.check(asked)
    check_head(asked, files.config)
    found.add("task.kind", asked, "--task")
    return asked


def _inferred(files: ModelFiles, found: Findings) -> str:
    if files.modules is not None and files.cross_encoder is None:
        if "Pooling" not in files.module_names:
            raise _unknown(files, f"modules.json pools no token vectors, but does: {', '.join(files.module_names)}")
        found.add("task.kind", "embedding", "modules.json: sentence-transformers")
        return "embedding"
    if not files.architectures:
        why = "config.json names no architectures"
        found.assume("task.kind", "embedding", why=why, check="If the weights carry a head, say --task KIND.")
        return "embedding"
    for name in files.architectures:
        origin = f"config.json: {name}"
        if name in OTHER_HEADS:
            check = f"--task KIND, if you mean another of: {', '.join(TASKS.names())}."
            found.assume("task.kind", "embedding", why=f"{name}: {OTHER_HEADS[name]}", check=check)
            return "embedding"
        for kind, task in TASKS.all().items():
            if task.heads and name.endswith(task.heads):
                found.add("task.kind", kind, origin)
                _note_generation(kind, name, found)
                return kind
        if _BARE.match(name) or (_is_encoder_decoder(files) and name.endswith("ForConditionalGeneration")):
            found.add("task.kind", "embedding", origin)
            return "embedding"
    raise _unknown(files, f"no task serves the head of architecture {', '.join(files.architectures)}")


def _note_generation(kind: str, name: str, found: Findings) -> None:
    if kind == "next_token":
        found.note(
            "task.kind",
            kind,
            why=f"{name} writes text, a token at a time, which isn't served today",
            check="One call answers the next token's candidates. Vectors instead: --task embedding.",
        )


def _note_family(files: ModelFiles, found: Findings) -> None:
    model_type = files.config.get("model_type")
    known = sorted(name for family in FAMILIES.all().values() for name in family.model_types)
    if model_type not in known:
        found.note(
            "source.model",
            "a plain encoder without token types",
            why=f"no family of tritonpack knows model_type {model_type}; known are: {', '.join(known)}",
            check="The build proves the graph against PyTorch; token types of pairs are sent to neither.",
        )


def _is_encoder_decoder(files: ModelFiles) -> bool:
    generates = any(name.endswith("ForConditionalGeneration") for name in files.architectures)
    return generates or files.config.get("is_encoder_decoder") is True


def _note_decoder(files: ModelFiles, kind: str, found: Findings) -> None:
    """A model with a decoder: its encoder alone is served, if a family knows how to load it."""
    named = ", ".join(files.architectures) or str(files.config.get("model_type"))
    if kind == "embedding" and "AutoModel" not in family_of(files.config).auto_classes:
        raise UnsupportedError(
            f"{named} has a decoder, and writing text isn't served; of model_type {files.config.get('model_type')} the "
            "encoder alone isn't either",
            hint=f"Encoders of such models are served of: {', '.join(_alone())}.",
            field="task.kind",
            architectures=list(files.architectures),
        )
    if kind == "embedding":
        check = "The vectors are the encoder's. Is that what you want?"
        why = f"{named} has a decoder; writing text isn't served today"
        found.note("task.kind", kind, why=why, check=check)
    else:
        why = f"{named} has a decoder, and no test of tritonpack covers such a model with a head"
        found.note("task.kind", kind, why=why, check="The build proves the numbers against PyTorch.")


def _alone() -> list[str]:
    """Model types whose encoder can be loaded without the decoder."""
    families = FAMILIES.all().values()
    return sorted(name for family in families if "AutoModel" in family.auto_classes for name in family.model_types)


def _refuse_what_isnt_text(files: ModelFiles) -> None:
    signs = [key for key in _OTHER_MODALITIES if key in files.config]
    if signs:
        raise UnsupportedError(
            f"{files.directory} holds a model of images or sound: its config.json has {signs[0]}",
            hint="Source huggingface is for text. Sound: source: {kind: python_module}, input: {kind: waveform}.",
            field="source.model",
        )
    quantization = files.config.get("quantization_config")
    if isinstance(quantization, dict):
        raise UnsupportedError(
            f"the weights in {files.directory} are quantized already: {quantization.get('quant_method', 'by what?')}",
            hint="Take the checkpoint that it was made from: tritonpack lowers precision itself.",
            field="source.model",
        )


def _unknown(files: ModelFiles, what: str) -> UnsupportedError:
    known = "; ".join(f"{kind}: {', '.join(task.heads)}" for kind, task in TASKS.all().items() if task.heads)
    return UnsupportedError(
        what,
        hint=f"Known heads: {known}; embedding: a model without a head, or any encoder with --task embedding.",
        field="task.kind",
        architectures=list(files.architectures),
    )
