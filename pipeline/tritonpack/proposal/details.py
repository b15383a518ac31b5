"""What a recipe says beside the task's kind: pooling, labels, the input, the longest row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.families import family_of
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from tritonpack.proposal.files import CrossEncoder, ModelFiles
    from tritonpack.proposal.findings import Findings

LONGEST = 512
"""Tokens of a row that a proposal takes at most."""

_NO_LIMIT = 10**6
"""Tokenizers without a limit name a number far above it."""

_PAIRS = ("entail", "contradict", "equivalent", "duplicate", "paraphrase")
_PLACEHOLDER = "LABEL_"
# What a served row goes through anyway, or what changes nothing while answering.
_SERVED_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
_SAY_LABELS = "Name the scores in order, task: {labels: [...]}, or in config.json: id2label."


def add_details(kind: str, files: ModelFiles, found: Findings) -> None:
    """Add the fields of a task and its input."""
    given = {
        "embedding": _embedding,
        "classification": _classification,
        "token_classification": _token_classification,
        "question_answering": _question_answering,
    }
    if kind in given:
        given[kind](files, found)
    if not any(finding.field == "input.kind" for finding in found.found):
        found.add("input.kind", TASKS.get(kind).inputs[0], f"the usual of {kind}")


def add_max_length(files: ModelFiles, found: Findings) -> None:
    """The least that any file allows, and at most `LONGEST`."""
    named: tuple[tuple[str, Any], ...] = (
        ("config.json", family_of(files.config).positions(files.config)),
        ("tokenizer_config.json", files.tokenizer.get("model_max_length")),
        (files.sentence_origin, files.sentence.get("max_seq_length")),
    )
    limits = [(int(value), file) for file, value in named if _is_limit(value)]
    least = min((value for value, _ in limits), default=None)
    files_of_least = ", ".join(file for value, file in limits if value == least)
    if least is None:
        check = "Set export.max_length to the longest text that the model was trained on."
        found.assume("export.max_length", LONGEST, why="no file names the longest row", check=check)
    elif least > LONGEST:
        why = f"{files_of_least} allows {least} tokens; long rows cost memory and time"
        check = f"Raise export.max_length, up to {least}, if your texts are longer."
        found.assume("export.max_length", LONGEST, why=why, check=check)
    else:
        found.add("export.max_length", least, files_of_least)


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _NO_LIMIT


def _embedding(files: ModelFiles, found: Findings) -> None:
    _pooling(files, found)
    if files.modules is not None:
        found.add("task.normalize", "Normalize" in files.module_names, "modules.json")
    else:
        check = "false, if the lengths of vectors matter to you."
        found.assume("task.normalize", value=True, why="there is no modules.json", check=check)
    others = [name for name in files.module_names if name not in _SERVED_MODULES]
    if others:
        found.note(
            "task",
            f"vectors without {', '.join(others)}",
            why="a recipe has no such step of modules.json",
            check="The vectors differ from sentence-transformers': add the step in a factory, source python_module.",
            decide=True,
        )
    _sentence_settings(files, found)


def _pooling(files: ModelFiles, found: Findings) -> None:
    modes = files.poolings
    if len(modes) == 1 and modes[0] in ("mean", "cls", "last"):
        found.add("task.pooling", modes[0], files.pooling_origin)
        return
    if modes:
        why = f"{files.pooling_origin} says {' and '.join(modes)}; there are mean, cls and last"
        check = "The vectors differ from sentence-transformers': pool in a factory, source python_module."
        found.assume("task.pooling", "mean", why=why, check=check, decide=True)
        return
    last = any(name.endswith(TASKS.get("next_token").heads) or name.startswith("GPT") for name in files.architectures)
    last = last and not any(name.startswith("XLNet") for name in files.architectures)
    found.assume(
        "task.pooling",
        "last" if last else "mean",
        why=f"there is no {files.pooling_origin}",
        check="How was the model trained to give one vector? mean, cls or last; an untrained one needs fine-tuning.",
    )


def _sentence_settings(files: ModelFiles, found: Findings) -> None:
    prompts = files.library.get("prompts")
    named = {name: text for name, text in prompts.items() if text} if isinstance(prompts, dict) else {}
    if named:
        found.note(
            "input.kind",
            "texts that bring their prompt",
            why=f"config_sentence_transformers.json has prompts: {', '.join(map(repr, named.values()))}",
            check="The server adds none: put them before the texts in the application.",
        )
    if files.sentence.get("do_lower_case") is True:
        found.note(
            "input.kind",
            "texts as they are sent",
            why=f"{files.sentence_origin} says do_lower_case: sentence-transformers lowers texts before its tokenizer",
            check="Unless the tokenizer lowers them too, send lower case.",
        )


def _classification(files: ModelFiles, found: Findings) -> None:
    labels = _labels(files, found)
    cross = files.cross_encoder
    if cross is not None:
        _cross_encoder(cross, labels, found)
        return
    if labels is not None and len(labels) == 1:
        found.assume(
            "input.kind",
            "text",
            why="one score: a number for a text (regression) or for a pair (reranking), the files don't tell which",
            check="Reranking: input: {kind: text_pair}. A score that is no probability: task: {activation: none}.",
            decide=True,
        )
    elif labels is not None and any(sign in label.lower() for sign in _PAIRS for label in labels):
        found.add("input.kind", "text_pair", "config.json: id2label")
        return
    else:
        check = "A model of pairs needs input: {kind: text_pair}."
        found.assume("input.kind", "text", why="labels don't tell a text from a pair of texts", check=check)
    if files.config.get("problem_type") is None and (labels is None or len(labels) > 1):
        found.note(
            "task.activation",
            "softmax",
            why="config.json names no problem_type: labels may exclude each other, or hold together",
            check="Together: task: {activation: sigmoid}.",
        )


def _cross_encoder(cross: CrossEncoder, labels: list[str] | None, found: Findings) -> None:
    if labels is not None and len(labels) == 1:
        found.add("task.activation", cross.activation or "sigmoid", cross.origin)
    elif cross.activation == "none":
        check = "task: {activation: none} answers raw scores, as sentence-transformers does."
        found.note("task.activation", "softmax", why=f"{cross.origin} answers raw scores", check=check)
    found.add("input.kind", "text_pair", f"{cross.origin}: a cross-encoder")


def _labels(files: ModelFiles, found: Findings) -> list[str] | None:
    """The names of the scores, as `tasks` will find them; None if they have none."""
    by_id = files.config.get("id2label")
    if not isinstance(by_id, dict) or not by_id:
        why = "config.json has no id2label; transformers leaves out two labels that nobody named"
        found.note("task.labels", "nothing", why=why, check=_SAY_LABELS, decide=True)
        return None
    named = {str(number): str(label) for number, label in by_id.items()}
    labels = [named.get(str(number)) for number in range(len(named))]
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        why = f"config.json: id2label doesn't name the scores 0 to {len(labels) - 1}"
        found.note("task.labels", "nothing", why=why, check=_SAY_LABELS, decide=True)
        return None
    found.add("task.labels", known, "config.json: id2label", written=False)
    if len(known) > 1 and all(label.startswith(_PLACEHOLDER) for label in known):
        why = "config.json: id2label holds placeholders"
        found.note("task.labels", f"{known[0]} to {known[-1]}", why=why, check=_SAY_LABELS)
    return known


def _token_classification(files: ModelFiles, found: Findings) -> None:
    labels = _labels(files, found)
    prefixes = {label[0].upper() for label in labels or () if label[1:2] == "-"}
    if prefixes - {"B", "I"}:
        found.assume(
            "task.aggregation",
            "none",
            why=f"labels begin with {', '.join(sorted(prefixes))}; transformers joins those of B- and I- alone",
            check="Join the tokens in the application, or see what aggregation: simple makes of them.",
        )
    elif prefixes:
        found.add("task.aggregation", "simple", "config.json: id2label")
    else:
        found.assume(
            "task.aggregation",
            "none",
            why="no label begins with B- or I-",
            check="simple joins neighbours of one label: right for entities, wrong for parts of speech.",
        )
    if labels is not None and "O" not in labels:
        why = "no label is called O"
        check = "Name those that are no entity: task: {ignore_labels: [...]}."
        found.note("task.ignore_labels", "that every label is an entity", why=why, check=check)


def _question_answering(files: ModelFiles, found: Findings) -> None:
    del files
    found.assume(
        "task.handle_impossible",
        value=False,
        why="no file says whether the model was trained on questions without an answer",
        check="true, if it was (SQuAD 2): an empty answer may then win.",
    )
