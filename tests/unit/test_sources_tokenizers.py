from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tritonpack.core.errors import SourceError
from tritonpack.sources import SOURCES
from tritonpack.sources._tokenizers import declared_tokens, mask_token_id, tokenizer_files, vocabulary_size
from tritonpack.sources.huggingface import HuggingFaceOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import vocabulary, write_bert, write_tokenizer


def write(folder, **files):
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_every_file_that_decides_a_tokenizer_is_one_of_its_files(tmp_path):
    names = [
        "added_tokens.json", "merges.txt", "special_tokens_map.json", "spiece.model", "tokenizer.4.0.0.json",
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt",
    ]  # fmt: skip
    for name in [*names, "README.md", "config.json", "model.safetensors", "generation_config.json", "model.py"]:
        (tmp_path / name).write_text("{}")
    assert [path.name for path in tokenizer_files(tmp_path)] == names


@pytest.mark.parametrize("names", [[], ["tokenizer_config.json", "special_tokens_map.json"], ["merges.txt"]])
def test_a_directory_without_a_vocabulary_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(SourceError, match=r"holds no tokenizer\.json, vocab\.txt, vocab\.json or SentencePiece model"):
        tokenizer_files(tmp_path)


UNIGRAM = {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["<mask>", 0.0], ["a", -1.0]]}, "added_tokens": []}
WORDPIECE = {"model": {"vocab": {"[PAD]": 0, "[MASK]": 5}}, "added_tokens": [{"id": 9, "content": "<masked>"}]}


@pytest.mark.parametrize(
    ("files", "mask", "size"),
    [
        ({"tokenizer__json": WORDPIECE}, 5, 10),
        ({"tokenizer__json": UNIGRAM}, 1, 3),
        ({"tokenizer__json": WORDPIECE, "tokenizer_config__json": {"mask_token": "<masked>"}}, 9, 10),
        ({"tokenizer__json": WORDPIECE, "special_tokens_map__json": {"mask_token": {"content": "<masked>"}}}, 9, 10),
        ({"tokenizer__json": WORDPIECE, "tokenizer_config__json": {"mask_token": None}}, None, 10),
        ({"tokenizer__json": WORDPIECE, "tokenizer_config__json": {"mask_token": "<absent>"}}, None, 10),
        ({"vocab__txt": "[PAD]\na\n[MASK]\n"}, 2, 3),
        ({"vocab__txt": "[PAD]\r\n[MASK]\r\na"}, 1, 3),
        ({"vocab__txt": "a\n\u2028\n[MASK]\n"}, 2, 3),
        ({"vocab__json": {"a": 0, "<mask>": 3}, "merges__txt": ""}, 3, 4),
        ({"vocab__json": {"a": 0}, "added_tokens__json": {"<mask>": 7}}, 7, 8),
        ({"spiece__model": "?"}, None, None),
        ({"spiece__model": "?", "tokenizer_config__json": {"mask_token": "<mask>"}}, None, None),
        (
            {
                "spiece__model": "?",
                "tokenizer_config__json": {
                    "mask_token": "<mask>",
                    "added_tokens_decoder": {"250001": {"content": "<mask>", "special": True}},
                },
            },
            250001,
            None,
        ),
    ],
)
def test_the_mask_and_the_size_are_read_from_the_files(tmp_path, files, mask, size):
    write(tmp_path, **files)
    assert mask_token_id(tmp_path) == mask
    assert vocabulary_size(tmp_path) == size


def test_the_tokens_that_files_name(tmp_path):
    write(
        tmp_path,
        tokenizer__json={"model": {}, "added_tokens": [{"id": 1, "content": "<one>"}]},
        added_tokens__json={"<two>": 2},
        special_tokens_map__json={"cls_token": {"content": "<three>"}, "additional_special_tokens": ["<four>"]},
        tokenizer_config__json={
            "added_tokens_decoder": {"5": {"content": "<five>"}},
            "extra_special_tokens": {"image_token": "<six>"},
            "pad_token": None,
            "model_max_length": 512,
            "tokenizer_class": "BertTokenizer",
        },
    )
    assert declared_tokens(tmp_path) == {"<one>", "<two>", "<three>", "<four>", "<five>", "<six>"}


def test_files_that_dont_read_are_named(tmp_path):
    write(tmp_path, tokenizer__json="{")
    with pytest.raises(SourceError, match=r"tokenizer\.json doesn't read"):
        mask_token_id(tmp_path)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert") / "model")


def locate(directory, **others):
    return SOURCES.get("huggingface").locate(
        HuggingFaceOptions(kind="huggingface", model=str(directory), **others), directory
    )


def test_the_tokenizers_digest_counts_what_decides_its_class_and_no_other_setting(bert):
    config = json.loads((bert / "config.json").read_text())
    before = locate(bert).tokenizer_digest
    try:
        for change, counts in (
            ({"model_type": "electra"}, True),
            ({"tokenizer_class": "RobertaTokenizer"}, True),
            ({"hidden_dropout_prob": 0.5}, False),
        ):
            (bert / "config.json").write_text(json.dumps({**config, **change}))
            assert (locate(bert).tokenizer_digest != before) is counts
    finally:
        (bert / "config.json").write_text(json.dumps(config))


def test_trusted_code_is_part_of_the_tokenizers_digest(bert):
    before = [locate(bert, trust_remote_code=trusted).tokenizer_digest for trusted in (False, True)]
    (bert / "mine.py").write_text("changed = True")
    try:
        after = [locate(bert, trust_remote_code=trusted).tokenizer_digest for trusted in (False, True)]
    finally:
        (bert / "mine.py").unlink()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_model_with_slow_files_alone_is_located(bert, tmp_path):
    directory = Path(shutil.copytree(bert, tmp_path / "slow"))
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.txt").write_text("\n".join([*vocabulary(), "[MASK]"]), encoding="utf-8")
    assert locate(directory).mask_token_id == len(vocabulary())


def test_the_vocabulary_of_a_plain_tokenizer_is_its_size(tmp_path):
    write_tokenizer(tmp_path)
    assert vocabulary_size(tmp_path) == len(vocabulary())
    assert mask_token_id(tmp_path) is None
