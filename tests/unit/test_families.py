"""What sets each family apart, against the configurations that `transformers` itself makes."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

from tritonpack.families import FAMILIES, Family, family_of, positions_after_padding

MODEL_TYPES = [model_type for family in FAMILIES.all().values() for model_type in family.model_types]


def config_of(model_type: str, **changes: Any) -> dict[str, Any]:
    """As ``config.json`` has it, with the defaults written out."""
    config: dict[str, Any] = CONFIG_MAPPING[model_type](**changes).to_dict()
    return config


def test_no_model_type_belongs_to_two_families() -> None:
    assert sorted(MODEL_TYPES) == [
        "albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "gpt2", "modernbert", "mpnet", "mt5",
        "roberta", "t5", "xlm-roberta", "xlm-roberta-xl", "xlnet",
    ]  # fmt: skip


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_transformers_knows_the_model_type_and_it_leads_to_its_family(model_type: str) -> None:
    assert model_type in family_of(config_of(model_type)).model_types


@pytest.mark.parametrize("config", [{}, {"model_type": "longformer"}, {"model_type": None}])
def test_an_unknown_model_has_no_traits(config: dict[str, Any]) -> None:
    family = family_of(config)
    assert family == Family(model_types=())
    assert not family.has_token_types(config)
    model = object()
    assert family.adapt(model) is model


def test_an_unknown_model_has_as_many_positions_as_its_configuration_says() -> None:
    assert family_of({}).positions({"max_position_embeddings": 77}) == 77
    assert family_of({}).positions({"max_position_embeddings": -1}) is None
    assert family_of({}).positions({}) is None


POSITIONS = {
    "albert": 40, "bert": 40, "deberta-v2": 40, "distilbert": 40, "electra": 40, "modernbert": 40, "camembert": 38,
    "mpnet": 38, "roberta": 38, "xlm-roberta": 38, "xlm-roberta-xl": 38,
}  # fmt: skip


@pytest.mark.parametrize(("model_type", "longest"), POSITIONS.items())
def test_the_longest_row_fits_the_positions(model_type: str, longest: int) -> None:
    config = config_of(model_type, max_position_embeddings=40)
    assert family_of(config).positions(config) == longest


def test_gpt2_names_its_positions_differently() -> None:
    config = config_of("gpt2", n_positions=40)
    assert family_of(config).positions(config) == 40
    assert family_of(config).positions({"model_type": "gpt2"}) is None


@pytest.mark.parametrize("model_type", ["t5", "xlnet"])
def test_relative_positions_have_no_end(model_type: str) -> None:
    config = config_of(model_type)
    assert family_of(config).positions({**config, "max_position_embeddings": 40}) is None


@pytest.mark.parametrize(("padding", "longest"), [(None, 38), (0, 39), (1, 38), (3, 36)])
def test_positions_start_after_the_padding_id(padding: int | None, longest: int) -> None:
    assert positions_after_padding({"max_position_embeddings": 40, "pad_token_id": padding}) == longest


def test_positions_after_padding_are_unknown_without_a_number() -> None:
    assert positions_after_padding({"pad_token_id": 1}) is None


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_which_families_tell_the_parts_of_a_pair_apart(model_type: str) -> None:
    config = config_of(model_type)
    assert family_of(config).has_token_types(config) == (model_type in {"bert", "albert", "electra", "xlnet"})


@pytest.mark.parametrize(("types", "told_apart"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize("model_type", ["bert", "albert", "electra", "deberta-v2"])
def test_one_type_alone_makes_no_difference(model_type: str, types: int, *, told_apart: bool) -> None:
    config = config_of(model_type, type_vocab_size=types)
    assert family_of(config).has_token_types(config) == told_apart


def test_a_configuration_that_names_no_types_has_two() -> None:
    assert family_of({"model_type": "bert"}).has_token_types({"model_type": "bert"})


@pytest.mark.parametrize("family", FAMILIES.all().values(), ids=FAMILIES.names())
def test_the_classes_of_a_family_are_of_transformers(family: Family) -> None:
    for name in family.auto_classes.values():
        mapping = getattr(modeling_auto, name)._model_mapping
        assert all(CONFIG_MAPPING[model_type] in mapping for model_type in family.model_types)


def test_t5_is_its_encoder_and_keeps_what_overflows_wide() -> None:
    family = FAMILIES.get("t5")
    assert family.auto_classes["AutoModel"] == "AutoModelForTextEncoding"
    assert family.fp32_modules == ("wo", "layer_norm", "final_layer_norm")


def test_the_folder_holds_these_families() -> None:
    assert FAMILIES.names() == [
        "albert", "bert", "deberta_v2", "distilbert", "electra", "gpt2", "modernbert", "mpnet", "roberta", "t5",
        "xlnet",
    ]  # fmt: skip
