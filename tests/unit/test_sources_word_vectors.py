"""Word vectors: the three formats of their files, and what becomes of lines, words and texts that aren't as usual."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tritonpack.core.errors import SourceError
from tritonpack.sources import SOURCES
from tritonpack.sources.word_vectors import WordVectorsOptions

SOURCE = SOURCES.get("word_vectors")
VECTORS = {"the": [1.0, 2.0, 3.0], "cat": [-1.5, 0.25, 4.0], "sat": [0.0, 1.0, 0.0]}
LINES = "\n".join(f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()) + "\n"
FORMATS = {
    "word2vec": "3 3\n" + LINES,
    "glove": LINES,
    # fastText ends every line with a space.
    "fasttext": "3 3\n" + LINES.replace("\n", " \n"),
    "windows": LINES.replace("\n", "\r\n"),
}


@pytest.fixture
def write(tmp_path):
    def written(text, **others):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "vectors.txt").write_bytes(data)
        return WordVectorsOptions(kind="word_vectors", file="vectors.txt", **others), tmp_path

    return written


def table_of(options, folder):
    """Words in the order of their ids, and their vectors."""
    located = SOURCE.locate(options, folder)
    module = SOURCE.load(located, options, auto_class="AutoModel", optional_weights=())
    with located.tokenizer() as directory:
        document = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.get), module.vectors.weight.numpy()


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read(write, form):
    words, vectors = table_of(*write(FORMATS[form]))
    assert words == ["[PAD]", "[UNK]", *VECTORS]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[0.0] * 3, [0.0] * 3, *VECTORS.values()]


def test_a_file_without_a_line_end_is_read(write):
    assert table_of(*write(LINES.rstrip("\n")))[1].tolist()[2:] == list(VECTORS.values())


def test_vectors_of_one_number_have_no_header(write):
    """`7 1` may be a word and its number, or a count and a dimension: of a file it is the header."""
    words, vectors = table_of(*write("2 1\nthe 5\ncat 6\n"))
    assert (words[2:], vectors[2:].tolist()) == (["the", "cat"], [[5.0], [6.0]])
    words, vectors = table_of(*write("the 5\ncat 6\n"))
    assert (words[2:], vectors[2:].tolist()) == (["the", "cat"], [[5.0], [6.0]])


def test_a_word_may_hold_spaces(write):
    """A few published files have such."""
    words, _ = table_of(*write("the 1 2 3\n. . . 1 2 3\nat name@domain.com 4 5 6\n3 3 3 7\n"))
    assert words[2:] == ["the", ". . .", "at name@domain.com", "3"]


def test_words_alike_but_for_case_are_the_first(write):
    words, vectors = table_of(*write("The 1 2 3\nthe 4 5 6\nTHE 7 8 9\n"))
    assert (words[2:], vectors[2:].tolist()) == (["the"], [[1.0, 2.0, 3.0]])
    words, vectors = table_of(*write("The 1 2 3\nthe 4 5 6\nThe 7 8 9\n", lowercase=False))
    assert (words[2:], vectors[2:].tolist()) == (["The", "the"], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_the_files_words_are_written_as_texts_are(write):
    """A file may hold accents apart from their letters; texts are composed before words are looked up."""
    words, _ = table_of(*write("cafe\u0301 1 2 3\nCAF\u00c9 4 5 6\n"))
    assert words[2:] == ["caf\u00e9"]


def test_only_the_first_words_are_kept(write):
    assert table_of(*write(FORMATS["word2vec"], words=2))[0][2:] == ["the", "cat"]
    assert table_of(*write(LINES + "broken\n", words=3))[0][2:] == list(VECTORS)


def test_bytes_that_arent_utf8_spoil_their_word_alone(write):
    words, vectors = table_of(*write(b"caf\xe9 1 2 3\ncat 4 5 6\n"))
    assert words[3] == "cat"
    assert vectors[3].tolist() == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the 1 2 3\ncat 1 2\n", r"line 2: 2 numbers where 3 were expected"),
        ("the 1 2 3\ncat\n", r"line 2: 0 numbers where 3 were expected"),
        ("the 1 2 3\n\ncat 1 2 3\n", r"line 2: 0 numbers where 3 were expected"),
        ("the 1 2 3\ncat 1 x 3\n", r"line 2: .*'x'"),
        ("the\n", r"line 1: 0 numbers where some were expected"),
        ("2 3\nthe 1 2\n", r"line 2: 2 numbers where 3 were expected"),
        ("the 1 nan 3\n", r"line 1: nan isn't a number that FP32 holds"),
        ("the 1 1e99 3\n", r"line 1: 1e99 isn't a number that FP32 holds"),
        ("", r"holds no word vectors"),
        ("5 300\n", r"holds no word vectors"),
    ],
    ids=[
        "short",
        "word alone",
        "empty line",
        "no number",
        "first line",
        "after a header",
        "nan",
        "inf",
        "empty",
        "header",
    ],
)
def test_a_bad_line_is_named(write, text, words):
    with pytest.raises(SourceError, match=words) as error:
        SOURCE.locate(*write(text))
    assert "vectors.txt" in error.value.message
    assert error.value.hint != ""


def test_a_bad_line_of_a_long_file_is_named_when_it_is_read_whole(write):
    options, folder = write("".join(f"w{number} 1 2 3\n" for number in range(1500)) + "the 1 2\n")
    located = SOURCE.locate(options, folder)
    with pytest.raises(SourceError, match="line 1501: 2 numbers where 3 were expected"):
        SOURCE.load(located, options, auto_class="AutoModel", optional_weights=())


@pytest.mark.parametrize(("lines", "words", "size"), [(3, None, 5), (3, 2, 4), (997, None, 999), (1500, 600, 602)])
def test_a_small_vocabularys_size_is_known(write, lines, words, size):
    """Sampled ids stay within it."""
    text = "".join(f"w{number} 1 2 3\nW{number} 4 5 6\n" for number in range(lines))
    located = SOURCE.locate(*write(text, words=words))
    assert located.config == {"pad_token_id": 0, "vocab_size": size}


@pytest.mark.parametrize("lines", [998, 999, 1000, 1001, 1500])
def test_a_large_vocabulary_holds_every_sampled_id(write, lines):
    options, folder = write("".join(f"w{number} 1 2 3\n" for number in range(lines)))
    located = SOURCE.locate(options, folder)
    assert "vocab_size" not in located.config
    module = SOURCE.load(located, options, auto_class="AutoModel", optional_weights=())
    assert len(module.vectors.weight) == lines + 2 >= 1000


def test_a_special_word_of_the_file_is_no_second_one(write):
    """The unknown word counts as nothing, whatever the file says of it."""
    words, vectors = table_of(*write("[UNK] 1 2 3\n[PAD] 7 8 9\nthe 4 5 6\n", lowercase=False))
    assert len(words) == len(set(words)) == len(vectors)
    assert vectors[words.index("the")].tolist() == [4.0, 5.0, 6.0]


def test_the_digest_changes_with_the_file_and_how_it_is_read(write):
    options = [{}, {"lowercase": False}, {"words": 2}]
    digests = [SOURCE.locate(*write(LINES, **chosen)).weights_digest for chosen in options]
    digests.append(SOURCE.locate(*write(LINES + "ran 1 2 3\n")).weights_digest)
    assert len(set(digests)) == 4


def test_a_file_that_isnt_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"word vectors .*absent\.txt aren't there") as error:
        SOURCE.locate(WordVectorsOptions(kind="word_vectors", file="absent.txt"), tmp_path)
    assert error.value.context["field"] == "source.file"


def test_a_text_is_the_mean_of_the_words_that_the_file_holds(write):
    import torch

    options, folder = write(LINES)
    module = SOURCE.load(SOURCE.locate(options, folder), options, auto_class="AutoModel", optional_weights=())
    ids = torch.tensor([[2, 3, 1, 0], [1, 1, 0, 0], [2, 2, 4, 3], [3, 0, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    table = np.array(list(VECTORS.values()), np.float32)
    expected = [table[:2].mean(axis=0), np.zeros(3), (2 * table[0] + table[2] + table[1]) / 4, np.zeros(3)]
    np.testing.assert_allclose(module(ids, mask).numpy(), np.stack(expected), rtol=1e-6)
