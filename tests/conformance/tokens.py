"""Tiny tokenizers, each of its family's own class and conventions; the same bytes every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.texts import WORDS, characters

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL_MAX_LENGTH = 64
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def _word_pieces(special: tuple[str, ...]) -> dict[str, int]:
    letters = characters()
    words = [word for word in dict.fromkeys(WORDS) if len(word) > 1]
    tokens = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    return {token: index for index, token in enumerate(tokens)}


def _pieces(special: tuple[str, ...], last: tuple[str, ...] = ()) -> list[tuple[str, float]]:
    """A SentencePiece-like Unigram vocabulary: no two scores are equal, so that no two segmentations tie."""
    words = [f"\u2581{word}" for word in dict.fromkeys(WORDS) if len(word) > 1]
    scored = [("\u2581", -2.5), *((word, -4.0 - 0.013 * i) for i, word in enumerate(words))]
    scored += [(letter, -6.0 - 0.0071 * i) for i, letter in enumerate(characters())]
    return [*((token, 0.0) for token in special), *scored, *((token, 0.0) for token in last)]


def _byte_pairs(special: tuple[str, ...], last: tuple[str, ...] = ()) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Bytes, and merges that build each word from its left, with and without the space before it."""
    from tokenizers.pre_tokenizers import ByteLevel

    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        for form in (word, f"\u0120{word}"):
            for end in range(1, len(form)):
                merges.setdefault((form[:end], form[end]))
    tokens = dict.fromkeys([*special, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges), *last])
    return {token: index for index, token in enumerate(tokens)}, list(merges)


def _wordpiece(class_name: str, special: tuple[str, ...] = _BERT) -> Any:
    import transformers

    made = getattr(transformers, class_name)
    return made(vocab=_word_pieces(special), model_max_length=MODEL_MAX_LENGTH)


def _unigram(class_name: str, special: tuple[str, ...], last: tuple[str, ...] = (), **options: Any) -> Any:
    import transformers

    made = getattr(transformers, class_name)
    return made(vocab=_pieces(special, last), model_max_length=MODEL_MAX_LENGTH, **options)


def _roberta() -> Any:
    from transformers import RobertaTokenizer

    vocabulary, merges = _byte_pairs(("<s>", "<pad>", "</s>", "<unk>"), ("<mask>",))
    return RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=MODEL_MAX_LENGTH)


def _gpt2() -> Any:
    from transformers import GPT2Tokenizer

    vocabulary, merges = _byte_pairs((), ("<|endoftext|>",))
    # As published checkpoints that classify do: the end of text is also the padding.
    return GPT2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        pad_token="<|endoftext|>",  # noqa: S106  not a password
        model_max_length=MODEL_MAX_LENGTH,
    )


def _modernbert() -> Any:
    """Byte-level BPE with BERT's special tokens, in the class that its checkpoints name."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary, merges = _byte_pairs((), ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",  # noqa: S106  not a password
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        pad_token="[PAD]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MODEL_MAX_LENGTH,
    )


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "bert": lambda: _wordpiece("BertTokenizer"),
    "distilbert": lambda: _wordpiece("DistilBertTokenizer"),
    "electra": lambda: _wordpiece("ElectraTokenizer"),
    "mpnet": lambda: _wordpiece("MPNetTokenizer", ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")),
    "roberta": _roberta,
    "xlm_roberta": lambda: _unigram("XLMRobertaTokenizer", ("<s>", "<pad>", "</s>", "<unk>"), ("<mask>",)),
    "albert": lambda: _unigram("AlbertTokenizer", ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")),
    "deberta_v2": lambda: _unigram("DebertaV2Tokenizer", ("[PAD]", "[CLS]", "[SEP]", "[UNK]"), ("[MASK]",), unk_id=3),
    "modernbert": _modernbert,
    # XLNet was trained with token types; release 5 gives them only where the checkpoint names them.
    "xlnet": lambda: _unigram(
        "XLNetTokenizer",
        ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ),
    "gpt2": _gpt2,
    "t5": lambda: _unigram("T5Tokenizer", ("<pad>", "</s>", "<unk>"), extra_ids=0),
}
"""A family's tokenizer, made."""
