from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import vocabulary, write_tokenizer
from tiny_text import CLS, SEP, UNK, ids, request, stage, words, write_pair_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pair_tokenizer(tmp_path_factory.mktemp("text"))


def test_texts_of_a_request_are_padded_at_their_end_and_only_among_themselves(folder):
    served = stage(folder, pad_id=7)
    long, short = served.run([request(text=["the cat", "dog"]), request(text=["the"])])
    assert long["input_ids"].tolist() == [[CLS, *ids("the", "cat"), SEP], [CLS, *ids("dog"), SEP, 7]]
    assert long["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert short["input_ids"].tolist() == [[CLS, *ids("the"), SEP]]
    assert {array.dtype for array in (*long.values(), *short.values())} == {np.dtype(np.int64)}
    assert served.notices == []


@pytest.mark.parametrize("outputs", ["input_ids", "input_ids,offsets"])
def test_texts_of_all_requests_are_tokenized_in_one_call(folder, outputs, monkeypatch):
    served = stage(folder, outputs=outputs)
    calls, encode = [], served.encode
    monkeypatch.setattr(served, "encode", lambda texts, **options: calls.append(texts) or encode(texts, **options))
    served.run([request(text=["a", "b"]), request(text=[b"\xff"]), request(text=["c"])])
    assert calls == [["a", "b", "c"]]
    assert encode.__name__ == ("encode_batch" if "offsets" in outputs else "encode_batch_fast")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b"])
def test_an_empty_text_is_its_special_tokens(folder, text):
    served = stage(folder, outputs="input_ids,attention_mask,offsets,sequence,subword")
    (answer,) = served.run([request(text=[text])])
    assert answer["input_ids"].tolist() == [[CLS, SEP]]
    assert answer["offsets"].tolist() == [[[0, 0], [0, 0]]]
    assert answer["sequence"].tolist() == [[-1, -1]]
    assert answer["subword"].tolist() == [[False, False]]


def test_no_texts_are_no_rows(folder):
    served = stage(folder, outputs="input_ids,offsets")
    (answer,) = served.run([{"text": np.empty((0, 1), np.object_)}])
    assert answer["input_ids"].shape == (0, 0)
    assert answer["offsets"].shape == (0, 0, 2)
    assert served.run([]) == []


@pytest.mark.parametrize(("texts", "bad"), [("text", "text"), ("question,context", "context")])
def test_what_isnt_utf8_is_its_own_requests_error(folder, texts, bad):
    served = stage(folder, texts)
    good = {name: ["cat", "dog"] for name in texts.split(",")}
    answers = served.run([request(**good), request(**{**good, bad: [b"cat", b"cat\xff"]}), request(**good)])
    assert answers[1] == f"{bad} in row 1 isn't valid UTF-8: byte 3 is 0xff"
    assert answers[0]["input_ids"].tolist() == answers[2]["input_ids"].tolist()


@pytest.mark.parametrize(
    ("side", "kept"), [("right", ["cat", "sat", "mat"]), ("left", ["ran", "cat", "sat"])]
)  # fmt: skip
def test_truncated_texts_are_counted(folder, side, kept):
    served = stage(folder, max_length=5, truncation_side=side)
    served.run([request(text=[words(3), words(7)]), request(text=[words(7)])])
    assert served.notices == ["2 of 3 texts truncated to 5 tokens (2 since start)"]
    served.notices.clear()
    (answer,) = served.run([request(text=[words(7)])])
    assert answer["input_ids"].tolist() == [[CLS, *ids(*kept), SEP]]
    assert served.notices == ["1 of 1 texts truncated to 5 tokens (3 since start)"]


def test_a_pair_is_one_row(folder):
    served = stage(folder, "text,text_pair", "input_ids,attention_mask,token_type_ids,sequence", pad_type_id=3)
    (answer,) = served.run([request(text=["the cat", ""], text_pair=["dog", ""])])
    assert answer["input_ids"].tolist() == [
        [CLS, *ids("the", "cat"), SEP, *ids("dog"), SEP],
        [CLS, SEP, SEP, 0, 0, 0],
    ]
    assert answer["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 1, 3, 3, 3]]
    assert answer["sequence"].tolist() == [[-1, 0, 0, -1, 1, -1], [-1, -1, -1, -1, -1, -1]]


@pytest.mark.parametrize(
    ("strategy", "lengths", "kept"),
    [
        ("longest_first", (2, 9), (2, 6)),
        ("longest_first", (9, 2), (6, 2)),
        ("longest_first", (9, 9), (4, 4)),
        ("longest_first", (0, 20), (0, 8)),
        ("longest_first", (20, 8), (4, 4)),
        ("only_first", (9, 5), (3, 5)),
        ("only_first", (9, 0), (8, 0)),
        ("only_second", (5, 9), (5, 3)),
        ("only_second", (3, 4), (3, 4)),
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_pairs_are_truncated_as_the_strategy_says(folder, strategy, lengths, kept, side):
    served = stage(folder, "text,text_pair", "input_ids,sequence", max_length=11, truncation=strategy,
                   truncation_side=side)  # fmt: skip
    first, second = words(lengths[0]), words(lengths[1])
    (answer,) = served.run([request(text=[first], text_pair=[second])])
    cut = slice(None) if side == "right" else slice(None, None, -1)

    def part(text, count):
        return ids(*(text.split()[cut][:count][cut]))

    assert answer["input_ids"].tolist() == [[CLS, *part(first, kept[0]), SEP, *part(second, kept[1]), SEP]]
    expected = [] if lengths == kept else ["1 of 1 pairs truncated to 11 tokens (1 since start)"]
    assert served.notices == expected


@pytest.mark.parametrize(("strategy", "name"), [("only_first", "text_pair"), ("only_second", "text")])
def test_a_text_that_may_not_be_cut_and_leaves_no_room_is_an_error(folder, strategy, name):
    served = stage(folder, "text,text_pair", max_length=11, truncation=strategy)
    long = request(text=["cat", words(8)], text_pair=["cat", words(8)])
    good = request(text=["cat"], text_pair=["dog"])
    bad, answer = served.run([long, good])
    assert bad == (
        f"{name} in row 1 has 8 tokens, which leaves too few for the other text: a row holds 11, 3 of them special"
    )
    assert answer["input_ids"].tolist() == [[CLS, *ids("cat"), SEP, *ids("dog"), SEP]]


def test_two_long_texts_take_no_more_than_their_tokens(folder):
    """The library's own truncation would build every combination of what it cuts off: here 16 million rows."""
    served = stage(folder, "text,text_pair", "input_ids", max_length=5)
    (answer,) = served.run([request(text=[words(4000)], text_pair=[words(4000)])])
    assert answer["input_ids"].tolist() == [[CLS, *ids("cat"), SEP, *ids("cat"), SEP]]


def test_texts_apart_have_rows_of_their_own(folder):
    outputs = "left_input_ids,left_attention_mask,right_input_ids,right_attention_mask"
    served = stage(folder, "text,text_pair", outputs, apart="true", max_length=5)
    (answer,) = served.run([request(text=["the cat", "dog"], text_pair=["dog", words(9)])])
    assert list(answer) == outputs.split(",")
    assert answer["left_input_ids"].tolist() == [[CLS, *ids("the", "cat"), SEP], [CLS, *ids("dog"), SEP, 0]]
    assert answer["left_attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert answer["right_input_ids"].tolist() == [[CLS, *ids("dog"), SEP, 0, 0], [CLS, *ids("cat", "sat", "mat"), SEP]]
    assert answer["right_attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert served.notices == ["1 of 4 texts truncated to 5 tokens (1 since start)"]


# Characters count as Python counts them, whatever the normalizer makes of them: lower case, no accents, spaces
# around Chinese ones, no control characters.
PLACED = {
    "Thé CAT": ["Thé", "CAT"],
    "e\u0301a the": ["e", "a", "the"],
    "e\u0327\u0301x": ["e", "x"],
    "👩\u200d👩\u200d👧 cat": ["👩\u200d👩\u200d👧", "cat"],
    "cat👍🏽 dog": ["cat👍🏽", "dog"],
    "\u05d7\u05ea\u05d5\u05dc dog": ["\u05d7\u05ea\u05d5\u05dc", "dog"],
    "中文cat": ["中", "文", "cat"],
    "a\x00b cat": ["a", "b", "cat"],
    "𐐀\u3000cat": ["𐐀", "cat"],
}


@pytest.mark.parametrize("text", PLACED)
def test_places_are_characters_of_the_text_as_it_was_sent(folder, text):
    served = stage(folder, outputs="input_ids,offsets,sequence")
    (answer,) = served.run([request(text=["the cat sat on", text])])
    assert answer["offsets"].dtype == answer["sequence"].dtype == np.int32
    places = answer["offsets"][1][answer["sequence"][1] == 0]
    found = [text[start:end] for start, end in places]
    assert found == PLACED[text]
    assert answer["offsets"][1][answer["sequence"][1] == -1].tolist() == [[0, 0]] * (answer["sequence"][1] == -1).sum()


def test_a_token_that_continues_a_word_is_marked(folder):
    served = stage(folder, outputs="input_ids,subword", unk_id=UNK)
    (answer,) = served.run([request(text=["cats sat.", "é ☃ the"])])
    tokens = [[vocabulary()[token] for token in row] for row in answer["input_ids"]]
    assert tokens[0] == ["[CLS]", "cat", "##s", "sat", ".", "[SEP]"]
    assert answer["subword"].dtype == np.bool_
    assert answer["subword"][0].tolist() == [False, False, True, False, False, False]
    assert tokens[1][:5] == ["[CLS]", "e", "[UNK]", "the", "[SEP]"]
    assert not answer["subword"][1].any()


def test_an_unknown_word_counts_by_its_length_where_the_unknown_token_isnt_named(folder):
    (answer,) = stage(folder, outputs="subword").run([request(text=["☃"])])
    assert answer["subword"].tolist() == [[False, True, False]]


def test_without_a_mark_for_continued_words_spaces_decide(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, " ": 2}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    served = stage(tmp_path, outputs="input_ids,subword", unk_id=1)
    (answer,) = served.run([request(text=["aa ab"])])
    assert answer["input_ids"].tolist() == [[0, 0, 2, 0, 1]]
    assert answer["subword"].tolist() == [[False, True, False, False, False]]


@pytest.mark.parametrize("split", [True, False])
def test_special_tokens_written_out_are_text_where_the_tokenizer_says_so(folder, split):
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("[SEP]", special=True)])
    own = folder / "special"
    own.mkdir(exist_ok=True)
    tokenizer.save(str(own / "tokenizer.json"))
    (answer,) = stage(own, split_special_tokens="true" if split else "false").run([request(text=["[SEP]"])])
    assert (answer["input_ids"].tolist() == [[CLS, SEP, SEP]]) is not split


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"max_length": 2}, "max_length 2 leaves no room for text beside 2 special tokens"),
        ({"texts": "text,text_pair", "max_length": 3}, "max_length 3 leaves no room for text beside 3 special tokens"),
        ({"outputs": "input_ids,logits"}, "there is no output logits; there are: attention_mask, input_ids, offsets"),
        ({"outputs": "row"}, "there is no output row"),
        ({"outputs": "left_input_ids"}, "there is no output left_input_ids"),
        ({"truncation": "longest"}, "truncation is one of longest_first, only_first, only_second, not 'longest'"),
        ({"stride": 3}, "windows take a pair of texts and a stride of 0 to 13, not 3"),
        ({"texts": "question,context", "stride": 13}, "windows take a pair of texts and a stride of 0 to 12, not 13"),
    ],
)
def test_parameters_that_no_text_could_be_served_with_are_refused(folder, parameters, words):
    with pytest.raises(ValueError, match=words):
        stage(folder, **parameters)


def test_a_row_without_a_token_is_one_masked_element_or_refused(folder, tmp_path):
    from tokenizers import Tokenizer, processors

    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare.post_processor = processors.Sequence([])
    bare.save(str(tmp_path / "tokenizer.json"))
    empty, mixed, full = request(text=[""]), request(text=["the cat", " "]), request(text=["dog"])
    taken = stage(tmp_path, pad_id=9).run([empty])
    assert taken[0]["input_ids"].tolist() == [[9]]
    assert taken[0]["attention_mask"].tolist() == [[0]]
    refused = stage(tmp_path, needs_token="true").run([empty, mixed, full])  # noqa: S106  not a password
    assert refused[:2] == [f"text in row {row} has no tokens; the model needs one at least" for row in (0, 1)]
    assert refused[2]["input_ids"].tolist() == [ids("dog")]


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no tokenizer file .*tokenizer\.json; build the model again"):
        stage(tmp_path)


def test_a_request_with_unlike_columns_is_an_error(folder):
    served = stage(folder, "question,context")
    assert served.run([request(question=["a"], context=["b", "c"])]) == [
        "there are 1 of question and 2 of context; each row takes one of each"
    ]


def test_a_template_that_repeats_a_text_is_refused(tmp_path):
    document = json.loads(write_tokenizer(tmp_path).read_text())
    document["post_processor"]["single"] += document["post_processor"]["single"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="post-processor doesn't give each text once"):
        stage(tmp_path)
