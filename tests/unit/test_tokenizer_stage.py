from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tritonpack.core.errors import MissingExtraError, SourceError
from tritonpack.stages.tokenizer import tokenizer_from_directory

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from corpus import corpus
from tiny_bert import tiny_config, vocabulary, write_tokenizer
from tiny_tokenizers import KINDS

WORDS = len(vocabulary())


@pytest.fixture(scope="module")
def texts():
    return [text for kind in corpus().values() for text in kind[::5]]


@pytest.fixture(scope="module")
def directories(texts, tmp_path_factory):
    """A directory of each kind, as its makers publish it: most without ``tokenizer.json``."""
    root = tmp_path_factory.mktemp("kinds")
    for kind, write in KINDS.items():
        (root / kind).mkdir()
        write(root / kind, texts)
    return root


@pytest.fixture
def bert(tmp_path):
    """``config.json`` and ``tokenizer.json`` of a BERT that was made without ``[MASK]``."""
    tiny_config().save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    return tmp_path


def prepare(directory, tmp_path, config=None, **options):
    """The served tokenizer and its facts."""
    from tokenizers import Tokenizer

    out = tmp_path / "served.json"
    facts = tokenizer_from_directory(directory, config or {}, out, **options)
    return Tokenizer.from_file(str(out)), facts


def ids(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def of_transformers(directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, local_files_only=True)


def say(directory, **settings):
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


FILES = {
    "wordpiece": ["tokenizer_config.json", "vocab.txt"],
    "roberta": ["config.json", "merges.txt", "vocab.json"],
    "gpt2": ["merges.txt", "tokenizer_config.json", "vocab.json"],
    "llama3": ["tokenizer.json"],
    "xlnet": ["spiece.model", "tokenizer_config.json"],
    "t5": ["spiece.model", "tokenizer_config.json"],
    "albert": ["spiece.model", "tokenizer_config.json"],
    "xlm_roberta": ["config.json", "sentencepiece.bpe.model"],
}
# Class, padding, mask, unknown; the mask of an XLM-R comes after its vocabulary.
FACTS = {
    "wordpiece": ("BertTokenizer", 0, 4, 1),
    "roberta": ("RobertaTokenizer", 1, 4, 3),
    "gpt2": ("GPT2Tokenizer", 0, None, 0),
    "llama3": ("Tokenizer", 0, None, None),
    "xlnet": ("XLNetTokenizer", 5, 6, 0),
    "t5": ("T5Tokenizer", 0, None, 2),
    "albert": ("AlbertTokenizer", 0, 4, 1),
    "xlm_roberta": ("XLMRobertaTokenizer", 1, 4801, 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_files_is_converted_as_transformers_does(directories, texts, kind, tmp_path, capfd):
    directory = directories / kind
    served, facts = prepare(directory, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in directory.iterdir()) == FILES[kind]
    assert ids(served, texts) == of_transformers(directory)(texts)["input_ids"]
    assert (served.padding, served.truncation) == (None, None)
    named = ("tokenizer_class", "pad_id", "mask_token_id", "unk_token_id")
    assert tuple(facts[name] for name in named) == FACTS[kind]
    assert facts["vocabulary"] == facts["max_token_id"] + 1 == served.get_vocab_size()
    assert facts["model_input_names"] == of_transformers(directory).model_input_names
    assert (facts["truncation_side"], facts["pad_type_id"], facts["split_special_tokens"]) == ("right", 0, False)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "tokenizer.json" not in FILES[kind]])
def test_the_same_tokenizer_saved_by_transformers_is_served_the_same(directories, texts, kind, tmp_path):
    of_transformers(directories / kind).save_pretrained(tmp_path / "saved")
    slow, slow_facts = prepare(directories / kind, tmp_path)
    fast, fast_facts = prepare(tmp_path / "saved", tmp_path)
    assert ids(slow, texts) == ids(fast, texts)
    assert slow_facts == fast_facts


def test_a_tokenizer_json_alone_is_taken_as_it_is(bert, texts, tmp_path):
    (bert / "config.json").unlink()
    before = json.loads((bert / "tokenizer.json").read_text())
    served, facts = prepare(bert, tmp_path)
    assert json.loads(served.to_str()) == {**before, "padding": None, "truncation": None}
    assert ids(served, texts) == of_transformers(bert)(texts, padding=False, truncation=False)["input_ids"]
    assert facts == {
        "tokenizer_class": "Tokenizer", "vocabulary": WORDS, "max_token_id": WORDS - 1, "pad_id": 0, "pad_type_id": 0,
        "mask_token_id": None, "unk_token_id": 1, "truncation_side": "right", "split_special_tokens": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }  # fmt: skip


def test_the_models_padding_goes_before_the_tokenizers(bert, tmp_path):
    assert prepare(bert, tmp_path, {"pad_token_id": 7})[1]["pad_id"] == 7
    assert prepare(bert, tmp_path, {"pad_token_id": -1})[1]["pad_id"] == 0
    assert prepare(bert, tmp_path, {"pad_token_id": None})[1]["pad_id"] == 0


def test_a_special_token_that_only_the_class_is_used_to_isnt_served_without_an_embedding(bert, tmp_path):
    text = ["the [MASK]"]
    served, facts = prepare(bert, tmp_path)
    assert WORDS in ids(served, text)[0]
    assert (facts["mask_token_id"], facts["max_token_id"]) == (WORDS, WORDS)
    served, facts = prepare(bert, tmp_path, {"vocab_size": WORDS})
    assert max(ids(served, text)[0]) < WORDS
    assert (facts["mask_token_id"], facts["max_token_id"], facts["vocabulary"]) == (None, WORDS - 1, WORDS)
    assert ids(served, ["the cat"]) == of_transformers(bert)(["the cat"], padding=False)["input_ids"]


@pytest.mark.parametrize("declared", ["mask_token", "added_tokens_decoder", "extra_special_tokens"])
def test_a_token_that_the_files_name_needs_an_embedding(bert, tmp_path, declared):
    token = {"content": "<new>", "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    value = {"mask_token": "<new>", "added_tokens_decoder": {str(WORDS): token}, "extra_special_tokens": ["<new>"]}
    say(bert, tokenizer_class="BertTokenizer", **{declared: value[declared]})
    with pytest.raises(
        SourceError, match=rf"ids go up to {WORDS} \('<new>'\), but the model has embeddings for {WORDS}"
    ):
        prepare(bert, tmp_path, {"vocab_size": WORDS})


def test_more_tokens_than_embeddings_are_refused(bert, tmp_path):
    with pytest.raises(SourceError, match=f"embeddings for {WORDS - 1}") as error:
        prepare(bert, tmp_path, {"vocab_size": WORDS - 1})
    assert error.value.hint == "Tokenizer and model don't belong together."


def test_the_greatest_id_counts_and_not_how_many_there_are(bert, tmp_path):
    document = json.loads((bert / "tokenizer.json").read_text())
    token = {"content": "<far>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document["model"]["vocab"]["<far>"] = 500
    document["added_tokens"].append({**token, "id": 500, "special": True})
    (bert / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(SourceError, match=r"go up to 50[01] .*embeddings for 500"):
        prepare(bert, tmp_path, {"vocab_size": 500})
    assert prepare(bert, tmp_path, {"vocab_size": 501})[1]["max_token_id"] == 500


def test_a_tokenizer_that_splits_special_tokens_says_so(bert, tmp_path):
    say(bert, tokenizer_class="BertTokenizer", split_special_tokens=True)
    assert prepare(bert, tmp_path)[1]["split_special_tokens"] is True


@pytest.mark.parametrize(
    ("tokenizer_class", "words"),
    [
        ("EsmTokenizer", "(EsmTokenizer) is Python code, which isn't run at serving; transformers has no fast form"),
        ("LayoutLMv2Tokenizer", "(LayoutLMv2Tokenizer) takes more than text: "),
    ],
)
def test_a_tokenizer_that_isnt_fast_is_refused_by_name(tmp_path, tokenizer_class, words):
    (tmp_path / "vocab.txt").write_text("<cls>\n<pad>\n<eos>\n<unk>\n<mask>\n[UNK]\na\nb")
    say(tmp_path, tokenizer_class=tokenizer_class)
    with pytest.raises(SourceError) as error:
        prepare(tmp_path, tmp_path)
    assert words in error.value.message
    assert str(tmp_path) in error.value.message
    assert "tokenizer.json" in error.value.hint


def test_files_of_no_class_are_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    with pytest.raises(SourceError, match="transformers can't load the tokenizer of") as error:
        prepare(tmp_path, tmp_path)
    assert "tokenizer_class" in error.value.hint
    assert "\n" not in error.value.message


def test_no_files_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"holds no tokenizer\.json, vocab\.txt, vocab\.json or SentencePiece model"):
        prepare(tmp_path, tmp_path)


@pytest.mark.parametrize("settings", [None, {"tokenizer_class": "BertTokenizer"}])
@pytest.mark.parametrize("content", ["", "{}", '{"model": {"type": "WordPiece"}}', "[1]"])
def test_a_tokenizer_json_that_isnt_one_is_refused(tmp_path, settings, content):
    (tmp_path / "tokenizer.json").write_text(content)
    if settings is not None:
        say(tmp_path, **settings)
    with pytest.raises(SourceError, match=r"isn't a tokenizer|transformers can't load the tokenizer") as error:
        prepare(tmp_path, tmp_path)
    assert error.value.hint != ""


def test_code_that_comes_with_a_tokenizer_runs_only_when_it_is_trusted(bert, tmp_path):
    mark = tmp_path / "ran"
    (bert / "mine.py").write_text(
        "from pathlib import Path\nfrom transformers import BertTokenizer\n"
        f"Path({str(mark)!r}).touch()\nclass Mine(BertTokenizer):\n    pass\n"
    )
    say(bert, tokenizer_class="Mine", auto_map={"AutoTokenizer": [None, "mine.Mine"]})
    try:
        prepare(bert, tmp_path)
    except SourceError as error:
        assert "trust_remote_code" in f"{error.message} {error.hint}"  # noqa: PT017
    assert not mark.exists()
    assert prepare(bert, tmp_path, trust_remote_code=True)[1]["tokenizer_class"] == "Mine"
    assert mark.exists()


def test_a_class_that_does_more_in_python_is_refused(bert, tmp_path):
    (bert / "mine.py").write_text(
        "from transformers import BertTokenizer\nclass Louder(BertTokenizer):\n"
        "    def __call__(self, text, pair=None, **options):\n"
        "        return super().__call__([t.replace('Hello', 'cat') for t in text], pair, **options)\n"
    )
    say(bert, tokenizer_class="Louder", auto_map={"AutoTokenizer": [None, "mine.Louder"]})
    with pytest.raises(SourceError, match=r"\(Louder\) changes texts or ids in Python, which isn't run at serving"):
        prepare(bert, tmp_path, trust_remote_code=True)


def test_without_sentencepiece_its_models_are_refused(directories, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtraError, match="sentencepiece isn't installed") as error:
        prepare(directories / "t5", tmp_path)
    assert error.value.hint == "pip install 'tritonpack[build]'"


def test_a_sentencepiece_that_protobuf_is_too_old_for_is_named(directories, tmp_path, monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            del path, target
            if name == "sentencepiece.sentencepiece_model_pb2":
                raise RuntimeError("gencode 7.36.1 runtime 6.33.6")

    monkeypatch.delitem(sys.modules, "sentencepiece.sentencepiece_model_pb2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"doesn't go with the installed protobuf: gencode 7\.36\.1"):
        prepare(directories / "t5", tmp_path)


@pytest.mark.parametrize("name", ["albert", "xlnet"])
def test_a_tokenizer_that_gives_no_token_types_has_none(directories, tmp_path, name):
    served, facts = prepare(directories / name, tmp_path)
    assert "token_type_ids" not in facts["model_input_names"]
    assert set(served.encode("a cat", "the mat").type_ids) == {0}


def test_token_types_tell_the_texts_of_a_pair_apart(bert, tmp_path):
    served, facts = prepare(bert, tmp_path)
    assert "token_type_ids" in facts["model_input_names"]
    assert set(served.encode("a cat", "the mat").type_ids) == {0, 1}
