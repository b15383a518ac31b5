"""Chemical reactions as SMILES: rxnmapper's ALBERT and rxnfp's BERT; the recipe names their weights.

Weights: MIT, in the packages rxnmapper and rxnfp.
"""

from __future__ import annotations

from typing import Any

from factories.loading import facts_of

_MAPPER = "package:rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/config.json"
_FINGERPRINT = "package:rxnfp/models/transformers/bert_ft_10k_25s/config.json"


def masked() -> Any:
    """ALBERT of 12 layers of 256 that share their weights, with the head that fills masks."""
    from transformers import AlbertConfig, AlbertForMaskedLM, AlbertModel

    config = AlbertConfig(**facts_of(_MAPPER))
    module = AlbertForMaskedLM(config)
    module.albert = AlbertModel(config)  # with the pooler that its checkpoint holds
    return module


def classifier() -> Any:
    """BERT of 12 layers of 256 with a head of 50 reaction classes; their names don't ship."""
    from transformers import BertConfig, BertForSequenceClassification

    facts = facts_of(_FINGERPRINT)
    # Its own names are of two classes: what its training wrote by default.
    facts["id2label"] = {number: f"class {number}" for number in range(facts["num_labels"])}
    kept = {name: value for name, value in facts.items() if name not in {"label2id", "num_labels"}}
    return BertForSequenceClassification(BertConfig(**kept))
