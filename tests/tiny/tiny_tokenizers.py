"""A small tokenizer of each kind, trained in code, in the files that its makers publish: few hold a tokenizer.json."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VOCABULARY = 1200


def _settings(folder: Path, tokenizer_class: str, **others: Any) -> None:
    document = {"tokenizer_class": tokenizer_class, **others}
    (folder / "tokenizer_config.json").write_text(json.dumps(document), encoding="utf-8")


def write_wordpiece(folder: Path, texts: list[str]) -> None:
    """``vocab.txt`` of a cased BERT."""
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    tokenizer.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False, limit_alphabet=700)
    tokenizer.save_model(str(folder))
    _settings(folder, "BertTokenizer", do_lower_case=False)


def _write_byte_level(folder: Path, texts: list[str], special: list[str]) -> None:
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False, special_tokens=special)
    tokenizer.save_model(str(folder))


def write_roberta(folder: Path, texts: list[str]) -> None:
    """``vocab.json`` and ``merges.txt`` of a RoBERTa; its model says the class, as old checkpoints do."""
    _write_byte_level(folder, texts, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}), encoding="utf-8")


def write_gpt2(folder: Path, texts: list[str]) -> None:
    """``vocab.json`` and ``merges.txt`` of a GPT-2, which has no special tokens but the one at the end."""
    _write_byte_level(folder, texts, ["<|endoftext|>"])
    _settings(folder, "GPT2Tokenizer", pad_token="<|endoftext|>")  # noqa: S106  not a password


def write_llama3(folder: Path, texts: list[str]) -> None:
    """``tokenizer.json`` alone: byte-level BPE that puts a token in front, and padding and truncation of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|begin|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    template = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", 0)]
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tokenizer.enable_padding(pad_id=0, pad_token="<|begin|>", length=16)  # noqa: S106  not a password
    tokenizer.enable_truncation(16)
    tokenizer.save(str(folder / "tokenizer.json"))


def _write_sentencepiece(path: Path, texts: list[str], **settings: Any) -> None:
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        vocab_size=4 * VOCABULARY,
        character_coverage=0.98,
        num_threads=1,
        minloglevel=2,
        **settings,
    )
    path.write_bytes(written.getvalue())


def write_xlnet(folder: Path, texts: list[str]) -> None:
    """``spiece.model`` of an XLNet, whose special tokens stand at the end and have types of their own."""
    special = ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    _write_sentencepiece(
        folder / "spiece.model", texts, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, control_symbols=special
    )
    _settings(folder, "XLNetTokenizer")


def write_t5(folder: Path, texts: list[str]) -> None:
    """``spiece.model`` of a T5, which ends each text."""
    _write_sentencepiece(folder / "spiece.model", texts, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    _settings(folder, "T5Tokenizer", extra_ids=0, additional_special_tokens=[])


def write_albert(folder: Path, texts: list[str]) -> None:
    """``spiece.model`` of an ALBERT, which lowers case and takes accents off."""
    _write_sentencepiece(
        folder / "spiece.model",
        texts,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
    )
    _settings(folder, "AlbertTokenizer")


def write_xlm_roberta(folder: Path, texts: list[str]) -> None:
    """``sentencepiece.bpe.model`` of an XLM-R, whose ids `transformers` moves by one."""
    _write_sentencepiece(folder / "sentencepiece.bpe.model", texts, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    (folder / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}), encoding="utf-8")


KINDS: dict[str, Callable[[Path, list[str]], None]] = {
    "wordpiece": write_wordpiece,
    "roberta": write_roberta,
    "gpt2": write_gpt2,
    "llama3": write_llama3,
    "xlnet": write_xlnet,
    "t5": write_t5,
    "albert": write_albert,
    "xlm_roberta": write_xlm_roberta,
}
