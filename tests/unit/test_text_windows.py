"""Documents longer than a row, read in windows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_text import CLS, LENGTH, SEP, ids, request, stage, words, write_pair_tokenizer

WINDOWS = "input_ids,attention_mask,offsets,sequence,row,context_of_window"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pair_tokenizer(tmp_path_factory.mktemp("text"))


def test_a_long_context_is_read_in_windows_that_overlap(folder):
    served = stage(folder, "question,context", WINDOWS, max_length=9, stride=1, max_windows=4)
    contexts = [words(10), "dog"]
    (answer,) = served.run([request(question=["the cat", "a"], context=contexts)])
    starts = [0, 3, 6]
    inside = words(10).split()
    assert answer["row"].tolist() == [[0], [0], [0], [1]]
    assert answer["row"].dtype == np.int32
    assert answer["context_of_window"].tolist() == [[contexts[row].encode()] for row in (0, 0, 0, 1)]
    question = [CLS, *ids("the", "cat"), SEP]
    assert answer["input_ids"].tolist()[:3] == [[*question, *ids(*inside[start : start + 4]), SEP] for start in starts]
    assert answer["input_ids"].tolist()[3] == [CLS, *ids("a"), SEP, *ids("dog"), SEP, 0, 0, 0, 0]
    places = answer["offsets"][2][answer["sequence"][2] == 1]
    assert [contexts[0][start:end] for start, end in places] == inside[6:10]
    assert served.notices == []


def test_every_output_of_windows_that_is_asked_for_is_given(folder):
    names = f"{WINDOWS},token_type_ids,subword,words,question_of_window"
    served = stage(folder, "question,context", names, max_length=9, stride=1)
    (answer,) = served.run([request(question=["a"], context=["the cats"])])
    assert set(answer) == set(names.split(","))
    assert answer["words"].dtype == np.int32
    # The word of each token, in its own text; "cats" is two tokens of one word.
    assert answer["words"].tolist() == [[-1, 0, -1, 0, *[1] * (answer["words"].shape[1] - 5), -1]]


def test_a_token_has_the_same_place_in_every_window(tmp_path):
    """The one difference from `transformers`, whose later windows begin with the space before their first word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE({"Ġa": 0, "Ġ": 1, "a": 2}, [("Ġ", "a")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    served = stage(tmp_path, "question,context", WINDOWS, max_length=3, stride=0)
    (answer,) = served.run([request(question=["a"], context=["a a a"])])
    assert answer["offsets"].tolist() == [[[0, 1], [0, 1], [2, 3]], [[0, 1], [4, 5], [0, 0]]]
    tokenizer.enable_truncation(3, strategy="only_second")
    theirs = tokenizer.encode("a", "a a a")
    assert [theirs.offsets, theirs.overflowing[0].offsets] == [[(0, 1), (0, 1), (2, 3)], [(0, 1), (3, 5)]]


def test_more_windows_than_served_are_an_error_that_names_them(folder):
    served = stage(folder, "question,context", WINDOWS, max_length=9, stride=1, max_windows=4)
    bad, good = served.run([
        request(question=["a", "the cat"], context=["dog", words(14)]),
        request(question=["the cat"], context=[words(13)]),
    ])  # fmt: skip
    assert bad == "context in row 1 takes 5 windows; at most 4 are served"
    assert good["row"].tolist() == [[0]] * 4


def test_a_question_that_leaves_no_window_is_an_error(folder):
    served = stage(folder, "question,context", WINDOWS, max_length=9, stride=2)
    (bad, good) = served.run([request(question=[words(4)], context=[words(3)]),
                              request(question=[words(4)], context=["cat"])])  # fmt: skip
    assert bad == (
        "question in row 0 has 4 tokens, which leaves too few for the other text: a row holds 9, 3 of them special"
    )
    assert good["row"].tolist() == [[0]]


@pytest.mark.parametrize("count", [3, 9, 10, 40])
def test_windows_of_a_document_that_stands_first_are_the_tokenizers_own(folder, count):
    from tokenizers import Tokenizer

    served = stage(
        folder, "context,question", "input_ids,sequence,row,context_of_window", windows_of="context", stride=2
    )
    (answer,) = served.run([request(question=["the dog"], context=[words(count)])])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH, stride=2, strategy="only_first")
    first = tokenizer.encode(words(count), "the dog")
    expected = [first, *first.overflowing]
    assert (len(expected) > 1) == (count > LENGTH - 3 - 2)
    for row, encoding in enumerate(expected):
        length = len(encoding.ids)
        assert answer["input_ids"][row, :length].tolist() == encoding.ids
        document = [{None: -1, 0: 1, 1: 0}[sequence] for sequence in encoding.sequence_ids]
        assert answer["sequence"][row, :length].tolist() == document
    assert answer["row"].tolist() == [[0]] * len(expected)
    assert answer["context_of_window"][0, 0] == words(count).encode()
