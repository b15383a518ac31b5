"""What `transformers`' pipelines take, small: three kinds of tokenizer, a model, and words awkward to slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = ("the", "cat", "sat", "deploy", "ing", "ment", "berlin", "\u05e9\u05dc")
# Family emoji joined by ZWJ, a combining accent, a flag, right-to-left, Chinese, punctuation inside a word.
WORDS = (
    "the", "cat", "Cat", "THE", "sat.", "deploying,", "deployment", "a.b.c", "!?", "Berlin",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "e\u0301te\u0301", "\U0001f1ee\U0001f1f1", "\u05e9\u05dc\u05d5\u05dd",
    "\u4e2d\u6587", "x\u0301\u4e2dy",
)  # fmt: skip
CHARACTERS = "".join(dict.fromkeys("abcdefghijklmnopqrstuvwxyz.,!?" + "".join(WORDS).lower()))


def sentence(rng: np.random.Generator, least: int = 1, most: int = 12) -> str:
    """Random words between single spaces."""
    return " ".join(rng.choice(WORDS, rng.integers(least, most + 1)))


def wordpiece(words: int = 0) -> Any:
    """As BERT's uncased ones: words are told from their continuations. ``words`` adds w0, w1... to the vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import WordPiece as Decoder
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    continued = [f"##{piece}" for piece in (*CHARACTERS, *PIECES)]
    vocabulary = dict.fromkeys([*SPECIAL, *CHARACTERS, *PIECES, *continued, *(f"w{number}" for number in range(words))])
    tokenizer = Tokenizer(
        WordPiece(
            {token: number for number, token in enumerate(vocabulary)},
            unk_token="[UNK]",  # noqa: S106  not a password
            continuing_subword_prefix="##",
        )
    )
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = Decoder()
    return _wrapped(tokenizer)


def unigram() -> Any:
    """As XLM-R's: a word is what stands between spaces."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import Metaspace as Decoder
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace

    pieces = [*SPECIAL, "\u2581", *CHARACTERS, *PIECES, *(f"\u2581{piece}" for piece in PIECES)]
    scores = {piece: -4.0 * (len(piece) == 1) - 1 - number / 100 for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(Unigram(list(scores.items()), unk_id=1))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.decoder = Decoder()
    return _wrapped(tokenizer)


def byte_level() -> Any:
    """As GPT-2's and RoBERTa's: every byte has a token, so that a token can be part of a character."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("\u0120", "the"), ("c", "a"), ("ca", "t"), ("\u0120", "cat"), ("i", "n")]
    pieces = dict.fromkeys([*SPECIAL, *letters, *(left + right for left, right in merges)])
    tokenizer = Tokenizer(BPE({piece: number for number, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Decoder()
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Any) -> Any:
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))],
    )
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names)


def tiny_bert(auto_class: str, tokenizer: Any, seed: int = 0, **config: Any) -> Any:
    """A model of one small layer for a tokenizer, its weights from a seed."""
    import torch
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            initializer_range=0.7,  # the usual 0.02 makes all answers alike
            **config,
        )
        return getattr(transformers, auto_class).from_config(made).eval()
