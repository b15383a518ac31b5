"""What is refused before a model is loaded."""

from __future__ import annotations

import pytest

from tritonpack.core.errors import RecipeError
from tritonpack.core.model import ModelTraits
from tritonpack.stages.fit import check_head, check_length
from tritonpack.tasks import TASKS


@pytest.mark.parametrize(
    ("task", "architectures", "fitting"),
    [
        ("classification", ["BertModel"], "embedding"),
        ("classification", ["BertForTokenClassification"], "token_classification, embedding"),
        ("token_classification", ["RobertaForSequenceClassification"], "classification, embedding"),
        ("question_answering", ["BertForMaskedLM"], "fill_mask, embedding"),
        ("fill_mask", ["GPT2LMHeadModel"], "next_token, embedding"),
        ("next_token", ["XLNetForQuestionAnsweringSimple"], "question_answering, embedding"),
    ],
)
def test_a_checkpoint_with_another_head_is_refused_with_what_it_is_for(task, architectures, fitting):
    with pytest.raises(RecipeError) as error:
        check_head(task, {"architectures": architectures})
    heads = " or ".join(TASKS.get(task).heads)
    assert error.value.message == (
        f"task {task} needs a model with a head {heads}, but its architecture is {architectures[0]}"
    )
    assert error.value.hint == f"Such a model does: {fitting}."
    assert error.value.context["field"] == "task.kind"


def test_a_head_that_only_sounds_like_the_task_is_refused():
    with pytest.raises(RecipeError, match=r"is XLNetLMHeadModel \(its head scores the words of a") as error:
        check_head("next_token", {"architectures": ["XLNetLMHeadModel"]})
    assert error.value.hint == "Such a model does: embedding."


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("classification", {"architectures": ["BertForSequenceClassification"]}),
        ("next_token", {"architectures": ["GPT2LMHeadModel"]}),
        ("next_token", {"architectures": ["LlamaForCausalLM"]}),
        ("fill_mask", {"architectures": ["BertForPreTraining"]}),
        ("question_answering", {"architectures": ["BertModel", "BertForQuestionAnswering"]}),
        ("embedding", {"architectures": ["BertForMaskedLM"]}),
        ("classification", {"architectures": None}),
        ("classification", {}),
    ],
)
def test_a_checkpoint_that_has_the_head_or_says_nothing_passes(task, config):
    check_head(task, config)


def test_rows_that_are_longer_than_the_positions_are_refused():
    check_length(64, 64)
    check_length(4096, None)
    with pytest.raises(RecipeError, match=r"^export\.max_length is 65, but the model has 64 positions$") as error:
        check_length(65, 64)
    assert error.value.hint == "Set export.max_length to 64 or less."


def labels(config, task="classification", **options):
    chosen = TASKS.get(task).options(kind=task, **options)
    return TASKS.get(task).outputs(chosen, ModelTraits(config, 16))[0].shape[-1]


@pytest.mark.parametrize("task", ["classification", "token_classification"])
def test_scores_without_names_are_refused(task):
    with pytest.raises(RecipeError, match=r"config\.json has no id2label, so its scores have no names") as error:
        labels({}, task)
    assert "task: {labels: [...]}" in error.value.hint
    assert error.value.context["field"] == "task.labels"


@pytest.mark.parametrize("named", [{"0": "a", "2": "b"}, {"a": 0, "b": 1}, {"1": "a", "2": "b"}])
def test_names_that_leave_a_score_out_are_refused(named):
    with pytest.raises(RecipeError, match=r"id2label doesn't name the scores 0 to 1: ") as error:
        labels({"id2label": named})
    assert error.value.context["field"] == "task.labels"


def test_the_recipes_names_come_first():
    assert labels({"id2label": {"0": "a", "1": "b"}}) == 2
    assert labels({"id2label": {"0": "a", "1": "b"}}, labels=("x", "y", "z")) == 3
    assert labels({}, labels=("x",)) == 1


def test_a_tokenizer_without_a_mask_fills_none():
    task = TASKS.get("fill_mask")
    with pytest.raises(RecipeError, match="task fill_mask: the model's tokenizer has no mask token"):
        task.outputs(task.options(kind="fill_mask"), ModelTraits({}, 16))


@pytest.mark.parametrize(
    ("config", "count", "expected"),
    [
        ({}, 2, "softmax"),
        ({}, 1, "sigmoid"),
        ({"problem_type": "multi_label_classification"}, 3, "sigmoid"),
        ({"problem_type": "single_label_classification"}, 3, "softmax"),
        ({"problem_type": "regression"}, 1, "none"),
    ],
)
def test_scores_become_probabilities_as_the_model_says(config, count, expected):
    task, named = TASKS.get("classification"), {str(number): f"l{number}" for number in range(count)}
    model = ModelTraits({**config, "id2label": named}, 16)
    assert task.answer(task.options(kind="classification"), model).parameters["activation"] == expected
    said = task.options(kind="classification", activation="none")
    assert task.answer(said, model).parameters["activation"] == "none"
