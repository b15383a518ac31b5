"""A recipe's input and task become the steps of the ensemble around the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.repository.ensemble import PythonStage, Steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack.core.model import ModelTraits
    from tritonpack.core.tensors import TensorSpec
    from tritonpack.inputs import Input
    from tritonpack.tasks import Answer


def preprocessor_parameters(
    input_: Input, options: Any, model: ModelTraits, details: tuple[TensorSpec, ...] = ()
) -> dict[str, str]:
    """The pre-processing stage's parameters when these tensors are wanted of it."""
    wanted = [spec.name for spec in (*input_.graph_inputs(options, model), *details)]
    return {**input_.parameters(options, model), "outputs": ",".join(wanted)}


def steps_of(
    input_: Input,
    options: Any,
    model: ModelTraits,
    tokenizer: Mapping[str, Any],
    answer: Answer,
    graph_outputs: tuple[TensorSpec, ...],
) -> Steps:
    """The steps of the ensemble.

    Args:
        input_: makes the graph's inputs of what an application sends.
        options: the recipe's fields for it.
        model: the model.
        tokenizer: what preparing the tokenizer found out; empty without one.
        answer: makes answers of the graph's outputs.
        graph_outputs: the graph's outputs, as exported.
    """
    details = tuple(spec for spec in input_.details if spec.name in answer.takes)
    graph_inputs = tuple(input_.graph_inputs(options, model))
    before = PythonStage(
        suffix=input_.stage,
        file=input_.file,
        inputs=input_.public,
        outputs=(*graph_inputs, *details),
        parameters={
            **_tokenizer_parameters(tokenizer),
            **preprocessor_parameters(input_, options, model, details),
        },
        reads_tokenizer=input_.needs_tokenizer,
    )
    after = None
    if answer.file is not None:
        known = {spec.name: spec for spec in (*input_.public, *graph_inputs, *details)}
        after = PythonStage(
            suffix="postprocessor",
            file=answer.file,
            inputs=(*graph_outputs, *(known[name] for name in answer.takes)),
            outputs=answer.gives,
            parameters=answer.parameters,
            reads_tokenizer=answer.needs_tokenizer,
        )
    return Steps(before, after, answer.renames, input_.rows_per_request(options))


def _tokenizer_parameters(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a served tokenizer has to be told that its file doesn't say."""
    parameters = {}
    if facts.get("pad_type_id"):
        parameters["pad_type_id"] = str(facts["pad_type_id"])
    if facts.get("unk_token_id") is not None:
        parameters["unk_id"] = str(facts["unk_token_id"])
    if facts.get("split_special_tokens"):
        parameters["split_special_tokens"] = "true"
    return parameters
