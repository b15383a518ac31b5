"""What `tritonpack new` finds in a model's files: task, input, labels, lengths. No torch, no weights."""

from __future__ import annotations

import pytest

from tritonpack.core.errors import ConfigurationError, RecipeError, UnsupportedError
from tritonpack.families import FAMILIES
from tritonpack.proposal import ASSUMED, LONGEST, propose
from tritonpack.tasks import TASKS

NLI = {"0": "contradiction", "1": "entailment", "2": "neutral"}
STEPS = "sentence_transformers.models"
MODEL_TYPES = sorted(name for family in FAMILIES.all().values() for name in family.model_types)


def architecture(name, **others):
    return {"architectures": [name], **others}


def sentence_model(*names, pooling=None):
    modules = [
        {"idx": i, "path": f"{i}_{name}" if i else "", "type": f"{STEPS}.{name}"} for i, name in enumerate(names)
    ]
    return {"modules": modules, **({} if pooling is None else {"1_Pooling__config": pooling})}


def notices(proposal):
    return {notice.field: notice for notice in proposal.notices}


def origins(proposal):
    return {finding.field: finding.origin for finding in proposal.found}


# What a model is for


@pytest.mark.parametrize("kind", TASKS.names())
def test_every_head_of_every_task_is_known(model_folder, kind):
    for head in TASKS.get(kind).heads:
        proposal = propose(model_folder(architecture(f"Bert{head}", id2label={"0": "O", "1": "B-X"}), folder=head))
        assert proposal.document["task"]["kind"] == kind
        assert origins(proposal)["task.kind"] == f"config.json: Bert{head}"


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_family_is_known_and_its_bare_model_is_an_embedding(model_folder, model_type):
    proposal = propose(model_folder(architecture("AnyModel"), model_type=model_type))
    assert proposal.document["task"]["kind"] == "embedding"
    assert "source.model" not in notices(proposal)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BertForSequenceClassification", "classification"),
        ("DebertaV2ForTokenClassification", "token_classification"),
        ("DistilBertForQuestionAnswering", "question_answering"),
        ("XLNetForQuestionAnsweringSimple", "question_answering"),
        ("RobertaForMaskedLM", "fill_mask"),
        ("BertForPreTraining", "fill_mask"),
        ("GPT2LMHeadModel", "next_token"),
        ("LlamaForCausalLM", "next_token"),
        ("T5EncoderModel", "embedding"),
        ("ReformerModel", "embedding"),
    ],
)
def test_task_by_architecture(model_folder, name, kind):
    config = architecture(name, id2label={"0": "O", "1": "B-X"})
    assert propose(model_folder(config)).document["task"]["kind"] == kind


@pytest.mark.parametrize("name", ["ElectraForPreTraining", "XLNetLMHeadModel", "XLNetForQuestionAnswering"])
def test_a_head_that_does_something_else_is_left_off(model_folder, name):
    proposal = propose(model_folder(architecture(name)))
    assert proposal.document["task"]["kind"] == "embedding"
    assert notices(proposal)["task.kind"].why.startswith(f"{name}: its head ")


def test_a_head_that_does_something_else_isnt_served_on_request_either(model_folder):
    with pytest.raises(RecipeError, match=r"its architecture is ElectraForPreTraining \(its head tells") as error:
        propose(model_folder(architecture("ElectraForPreTraining")), task="fill_mask")
    assert error.value.context["field"] == "task.kind"


def test_a_sentence_model_is_an_embedding_whatever_its_weights_were_saved_from(model_folder):
    files = sentence_model("Transformer", "Pooling", pooling={"pooling_mode_mean_tokens": True})
    proposal = propose(model_folder(architecture("MPNetForMaskedLM"), model_type="mpnet", **files))
    assert proposal.document["task"] == {"kind": "embedding", "pooling": "mean", "normalize": False}
    assert proposal.notices == ()


def test_the_user_may_say_the_task(model_folder):
    proposal = propose(model_folder(architecture("BertForSequenceClassification")), task="embedding")
    assert proposal.document["task"]["kind"] == "embedding"
    assert origins(proposal)["task.kind"] == "--task"


def test_a_task_that_the_model_has_no_head_for(model_folder):
    with pytest.raises(RecipeError, match="task fill_mask needs a model with a head") as error:
        propose(model_folder(architecture("BertForSequenceClassification")), task="fill_mask")
    assert error.value.context["field"] == "task.kind"


def test_a_task_that_doesnt_exist(model_folder):
    with pytest.raises(ConfigurationError, match="task 'embeding' doesn't exist") as error:
        propose(model_folder(architecture("BertModel")), task="embeding")
    assert error.value.hint == "Did you mean 'embedding'?"


def test_without_architectures_an_embedding_is_assumed(model_folder):
    proposal = propose(model_folder({}))
    assert notices(proposal)["task.kind"].assumed == "embedding"
    assert proposal.ready


def test_an_unknown_architecture_names_what_is_known(model_folder):
    with pytest.raises(UnsupportedError, match="BertForMultipleChoice") as error:
        propose(model_folder(architecture("BertForMultipleChoice")))
    for kind in TASKS.names():
        assert kind in error.value.hint
        assert all(head in error.value.hint for head in TASKS.get(kind).heads)
    assert error.value.context == {"field": "task.kind", "architectures": ["BertForMultipleChoice"]}


def test_an_unknown_family_is_told(model_folder):
    notice = notices(propose(model_folder(architecture("NewModel"), model_type="new")))["source.model"]
    assert "model_type new;" in notice.why
    assert all(name in notice.why for name in MODEL_TYPES)


# Models that write text


def test_t5_is_served_as_its_encoder(model_folder):
    config = architecture("T5ForConditionalGeneration", is_encoder_decoder=True)
    proposal = propose(model_folder(config, model_type="t5"))
    assert proposal.document["task"]["kind"] == "embedding"
    assert "writing text isn't served" in notices(proposal)["task.kind"].why


@pytest.mark.parametrize("task", [None, "embedding"])
def test_a_decoder_whose_encoder_nobody_can_load_alone(model_folder, task):
    config = architecture("BartForConditionalGeneration", is_encoder_decoder=True)
    with pytest.raises(UnsupportedError, match="BartForConditionalGeneration has a decoder") as error:
        propose(model_folder(config, model_type="bart"), task=task)
    assert error.value.hint == "Encoders of such models are served of: mt5, t5."
    assert error.value.context["field"] == "task.kind"


def test_a_decoder_with_a_head_is_told(model_folder):
    config = architecture("BartForSequenceClassification", is_encoder_decoder=True, id2label=NLI)
    assert "no test of tritonpack covers" in notices(propose(model_folder(config, model_type="bart")))["task.kind"].why


def test_gpt2_gives_next_tokens(model_folder):
    proposal = propose(model_folder(architecture("GPT2LMHeadModel", n_positions=256), model_type="gpt2"))
    assert proposal.document["task"] == {"kind": "next_token"}
    assert proposal.document["export"]["max_length"] == 256
    assert "writes text" in notices(proposal)["task.kind"].why


# What the task is told


@pytest.mark.parametrize(
    ("pooling", "mode"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True, "include_prompt": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
@pytest.mark.parametrize("normalized", [True, False])
def test_pooling_and_normalisation_of_a_sentence_model(model_folder, pooling, mode, normalized):
    names = ["Transformer", "Pooling", *(["Normalize"] if normalized else [])]
    proposal = propose(model_folder(architecture("BertModel"), **sentence_model(*names, pooling=pooling)))
    assert proposal.document["task"] == {"kind": "embedding", "pooling": mode, "normalize": normalized}
    assert proposal.notices == ()


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": "weightedmean"},
    ],
)
def test_a_pooling_that_isnt_served_is_to_be_decided(model_folder, pooling):
    proposal = propose(
        model_folder(architecture("BertModel"), **sentence_model("Transformer", "Pooling", pooling=pooling))
    )
    assert notices(proposal)["task.pooling"].decide
    assert not proposal.ready


def test_a_step_that_a_recipe_lacks_is_to_be_decided(model_folder):
    files = sentence_model("Transformer", "Pooling", "Dense", "Normalize", pooling={"pooling_mode_mean_tokens": True})
    notice = notices(propose(model_folder(architecture("BertModel"), **files)))["task"]
    assert (notice.assumed, notice.decide) == ("vectors without Dense", True)


def test_a_sparse_encoder_is_unsupported(model_folder):
    with pytest.raises(UnsupportedError, match="MLMTransformer, SpladePooling"):
        propose(model_folder(architecture("BertForMaskedLM"), **sentence_model("MLMTransformer", "SpladePooling")))


@pytest.mark.parametrize(("name", "mode"), [("BertModel", "mean"), ("GPT2Model", "last"), ("LlamaForCausalLM", "last")])
def test_a_bare_model_names_no_pooling(model_folder, name, mode):
    proposal = propose(model_folder(architecture(name)), task="embedding")
    assert proposal.document["task"] == {"kind": "embedding", "pooling": mode, "normalize": True}
    assert {"task.pooling", "task.normalize"} <= set(notices(proposal))


def test_prompts_and_lower_case_are_the_applications_business(model_folder):
    files = sentence_model("Transformer", "Pooling", pooling={"pooling_mode_mean_tokens": True})
    files |= {"config_sentence_transformers": {"prompts": {"query": "query: ", "document": ""}}}
    files |= {"sentence_bert_config": {"max_seq_length": 64, "do_lower_case": True}}
    proposal = propose(model_folder(architecture("BertModel"), **files))
    assert [notice.field for notice in proposal.notices] == ["input.kind", "input.kind"]
    assert "'query: '" in proposal.notices[0].why
    assert "do_lower_case" in proposal.notices[1].why


@pytest.mark.parametrize(
    "labels", [NLI, {"0": "ENTAILMENT", "1": "not_entailment"}, {"0": "not_duplicate", "1": "duplicate"}]
)
def test_labels_that_compare_two_texts(model_folder, labels):
    proposal = propose(model_folder(architecture("BertForSequenceClassification", id2label=labels)))
    assert proposal.document["input"] == {"kind": "text_pair"}
    assert proposal.notices == ()


def test_labels_are_the_models_own_and_not_written_again(model_folder):
    config = architecture("BertForSequenceClassification", id2label={"1": "b", "0": "a"})
    proposal = propose(model_folder({**config, "problem_type": "multi_label_classification"}))
    assert proposal.document["task"] == {"kind": "classification"}
    assert "  # labels: the model's own, [a, b]\n" in proposal.text
    assert [(n.field, n.assumed, n.decide) for n in proposal.notices] == [("input.kind", "text", False)]


def test_without_a_problem_type_softmax_is_told(model_folder):
    proposal = propose(model_folder(architecture("BertForSequenceClassification", id2label={"0": "a", "1": "b"})))
    assert notices(proposal)["task.activation"].assumed == "softmax"


def test_one_score_may_be_regression_or_reranking(model_folder):
    proposal = propose(model_folder(architecture("BertForSequenceClassification", id2label={"0": "LABEL_0"})))
    notice = notices(proposal)["input.kind"]
    assert proposal.document["input"] == {"kind": "text"}
    assert notice.decide
    assert "regression" in notice.why
    assert "reranking" in notice.why
    assert "  kind: text  # assumed, to decide: one score:" in proposal.text


@pytest.mark.parametrize(
    ("config", "files", "activation"),
    [
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, {}, "none"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}, {}, "sigmoid"),
        ({}, {"config_sentence_transformers": {"model_type": "CrossEncoder"}}, "sigmoid"),
        ({}, {"modules": [{"type": "sentence_transformers.cross_encoder.models.Head", "path": ""}]}, "sigmoid"),
    ],
)
def test_a_cross_encoder_of_sentence_transformers_reads_pairs(model_folder, config, files, activation):
    base = architecture("BertForSequenceClassification", id2label={"0": "LABEL_0"})
    proposal = propose(model_folder({**base, **config}, **files))
    assert proposal.document["task"] == {"kind": "classification", "activation": activation}
    assert proposal.document["input"] == {"kind": "text_pair"}
    assert proposal.notices == ()


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
@pytest.mark.parametrize("labels", [None, {}, {"0": "a", "2": "b"}])
def test_labels_that_nobody_names_are_to_be_decided(model_folder, name, labels):
    proposal = propose(model_folder(architecture(name, id2label=labels)))
    assert notices(proposal)["task.labels"].decide
    assert "labels" not in proposal.document["task"]
    assert "  # labels: to decide. Name the scores in order" in proposal.text


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_placeholders_are_told(model_folder, name):
    proposal = propose(model_folder(architecture(name, id2label={"0": "LABEL_0", "1": "LABEL_1"})))
    assert notices(proposal)["task.labels"].assumed == "LABEL_0 to LABEL_1"
    assert "labels" not in proposal.document["task"]


@pytest.mark.parametrize(
    ("labels", "aggregation", "asked"),
    [
        (["O", "B-PER", "I-PER"], "simple", []),
        (["B-PER", "I-PER"], "simple", ["task.ignore_labels"]),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "none", ["task.aggregation"]),
        (["NOUN", "VERB", "X-ray"], "none", ["task.aggregation", "task.ignore_labels"]),
        (["O", "PER"], "none", ["task.aggregation"]),
    ],
)
def test_aggregation_by_the_labels_prefixes(model_folder, labels, aggregation, asked):
    by_id = {str(number): label for number, label in enumerate(labels)}
    proposal = propose(model_folder(architecture("BertForTokenClassification", id2label=by_id)))
    assert proposal.document["task"] == {"kind": "token_classification", "aggregation": aggregation}
    assert [notice.field for notice in proposal.notices] == asked


def test_questions_without_an_answer_are_told(model_folder):
    proposal = propose(model_folder(architecture("BertForQuestionAnswering")))
    assert proposal.document["input"] == {"kind": "question_context"}
    assert notices(proposal)["task.handle_impossible"].assumed == "false"


# The longest row


@pytest.mark.parametrize(
    ("positions", "tokenizer", "sentence", "length", "origin"),
    [
        (512, 512, 256, 256, "sentence_bert_config.json"),
        (512, 384, None, 384, "tokenizer_config.json"),
        (128, 10**30, None, 128, "config.json"),
        (512, 512, None, 512, "config.json, tokenizer_config.json"),
        (8192, 8192, None, LONGEST, ASSUMED),
        (8192, None, 8192, LONGEST, ASSUMED),
        (None, None, None, LONGEST, ASSUMED),
        (None, 1e30, None, LONGEST, ASSUMED),
        (None, True, None, LONGEST, ASSUMED),
    ],
)
def test_longest_row(model_folder, positions, tokenizer, sentence, length, origin):
    config = architecture("BertForMaskedLM", max_position_embeddings=positions)
    files = {"tokenizer_config": {"model_max_length": tokenizer}} if tokenizer else {}
    files |= {"sentence_bert_config": {"max_seq_length": sentence}} if sentence else {}
    proposal = propose(model_folder(config, **files))
    assert proposal.document["export"] == {"max_length": length}
    assert origins(proposal)["export.max_length"] == origin
    assert ("export.max_length" in notices(proposal)) == (origin == ASSUMED)


@pytest.mark.parametrize(("model_type", "length"), [("roberta", 512), ("mpnet", 512), ("bert", 514), ("t5", LONGEST)])
def test_positions_are_the_familys(model_folder, model_type, length):
    config = architecture("AnyModel", max_position_embeddings=514, pad_token_id=1)
    assert propose(model_folder(config, model_type=model_type)).document["export"]["max_length"] == min(length, LONGEST)
