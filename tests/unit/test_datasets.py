from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet

from tritonpack.core.errors import SourceError
from tritonpack.evaluation.datasets import DATASETS

TEXTS = [f"text {number}, with a comma\nand a line" for number in range(12)]
ROWS = [
    {"text": text, "label": ["no", "yes"][number % 2], "language": "en", "stars": number}
    for number, text in enumerate(TEXTS)
]
WRITERS = {
    "jsonl": lambda rows, path: path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8"),
    "csv": lambda rows, path: csv.write_csv(pa.Table.from_pylist(rows), path),
    "parquet": lambda rows, path: parquet.write_table(pa.Table.from_pylist(rows), path),
}
ENDINGS = pytest.mark.parametrize("ending", list(WRITERS))


@pytest.fixture
def write(tmp_path):
    def written(rows, ending="jsonl"):
        WRITERS[ending](rows, tmp_path / f"data.{ending}")
        return f"data.{ending}"

    return written


def options_of(kind, **fields):
    return DATASETS.get(kind).options(kind=kind, **fields)


@pytest.fixture
def read(tmp_path):
    def found(kind="labelled", inputs=("text",), **fields):
        return DATASETS.get(kind).read(options_of(kind, **fields), tmp_path, inputs)

    return found


@pytest.fixture
def digest(tmp_path):
    def found(kind="labelled", **fields):
        return DATASETS.get(kind).digest(options_of(kind, **fields), tmp_path)

    return found


# Labelled files


@ENDINGS
def test_a_labelled_file_has_rows_labels_and_slices(write, read, ending):
    examples = read(file=write(ROWS, ending))
    assert examples.rows == [{"text": text} for text in TEXTS]
    assert examples.expected == ["no", "yes"] * 6
    assert examples.columns == {"language": ["en"] * 12, "stars": list(range(12))}
    assert (len(examples), examples.pairs, examples.origin) == (12, None, "")


@ENDINGS
def test_columns_are_named_as_the_recipe_says(write, read, ending):
    rows = [{"question": row["text"], "passage": "p", "answer": "a"} for row in ROWS]
    examples = read(
        inputs=("question", "context"),
        file=write(rows, ending),
        columns={"context": "passage"},
        label="answer",
        rows=10,
    )
    assert examples.rows[0] == {"question": TEXTS[0], "context": "p"}
    assert examples.expected == ["a"] * 10
    assert examples.columns == {}


@ENDINGS
def test_numbers_of_labels_have_names(write, read, ending):
    rows = [{"text": "t", "label": number % 2} for number in range(10)]
    assert read(file=write(rows, ending)).expected == [0, 1] * 5
    assert read(file=write(rows, ending), names=["no", "yes"]).expected == ["no", "yes"] * 5
    with pytest.raises(SourceError, match="row 2: the label 1 isn't the number of one of 1 names: no"):
        read(file=write(rows, ending), names=["no"])


@ENDINGS
def test_nobody_need_have_labelled_the_rows(write, read, ending):
    examples = read(file=write([{"text": row["text"], "stars": 1} for row in ROWS], ending), label=None)
    assert examples.expected is None
    assert examples.columns == {"stars": [1] * 12}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_labels_may_be_lists_and_inputs_sounds(write, read, ending):
    spans = [{"start": 0, "end": 4, "label": "X"}]
    rows = [{"waveform": [0.0, 0.5, -number], "label": spans} for number in range(10)]
    examples = read(inputs=("waveform",), file=write(rows, ending))
    assert examples.expected == [spans] * 10
    assert examples.rows[3]["waveform"].dtype == np.float32
    assert examples.rows[3]["waveform"].tolist() == [0, 0.5, -3]


def test_words_in_csv_stay_words(write, read):
    rows = [{"text": str(number), "label": ["true", "false"][number % 2]} for number in range(10)]
    examples = read(file=write(rows, "csv"))
    assert examples.rows[3] == {"text": "3"}
    assert examples.expected == ["true", "false"] * 5


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=10, max_size=15))
@settings(max_examples=30, deadline=None)
def test_any_text_comes_back(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("data")
    for ending in ("jsonl", "parquet"):
        WRITERS[ending]([{"text": text, "label": "x"} for text in texts], folder / f"data.{ending}")
        options = options_of("labelled", file=f"data.{ending}")
        examples = DATASETS.get("labelled").read(options, folder, ("text",))
        assert [row["text"] for row in examples.rows] == texts


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("", "data.jsonl is empty", ""),
        ("\n \n", "data.jsonl is empty", ""),
        ('{"text": "a", "label": 1}\n{"text"', "data.jsonl, line 2 isn't JSON: ", "one JSON object a line"),
        ('{"text": "a", "label": 1}\n["a"]', "data.jsonl, line 2 is a JSON list, not an object", "{"),
        ('{"txt": "a", "label": 1}', "no column 'text'; there are: txt, label", "Did you mean 'txt'?"),
        ('{"text": "a", "lable": 1}', "no column 'label'; there are: text, lable", "Did you mean 'lable'?"),
        ('{"text": "a"}', "no column 'label'; there are: text", "label: null"),
        ('{"text": "a", "label": 1}\n{"text": "a"}', "row 2: 'label' is missing", ""),
        ('{"text": "a", "label": 1}\n{"text": null, "label": 1}', "row 2: 'text' is missing", ""),
        ('{"text": 3, "label": 1}', "row 1: 'text' is neither a text nor an array of numbers: '3'", "columns"),
        ('{"text": "a", "label": 1}\n{"text": [1.5], "label": 1}', "'text' holds both texts and numbers", ""),
        ('{"text": "a", "label": 1}', "data.jsonl holds 1 rows; it takes at least 10", ""),
    ],
)
def test_a_file_that_doesnt_fit_is_named(tmp_path, read, content, message, hint):
    (tmp_path / "data.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError) as error:
        read(file="data.jsonl")
    assert message in str(error.value)
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.jsonl", b'{"text": "\xe9"}', "isn't UTF-8"),
        ("data.csv", b"", "is empty"),
        ("data.csv", b"text,label\n", "is empty"),
        ("data.csv", b"text,label\na,b,c\n", "doesn't read: CSV parse error"),
        ("data.csv", b"text,label\n\xe9,b\n", "doesn't read: .*invalid UTF8"),
        ("data.parquet", b"PAR", "doesn't read: .*Parquet"),
        ("data.txt", b"", "files that end with .txt aren't known"),
        ("data", b"", "files that end with nothing aren't known"),
    ],
)
def test_a_file_that_doesnt_read_is_named(tmp_path, read, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        read(file=name)
    assert error.value.hint


@pytest.mark.parametrize("kind", ["labelled", "rated_pairs"])
def test_a_file_that_isnt_there_is_named(read, digest, kind):
    for use in (read, digest):
        with pytest.raises(SourceError, match=r"absent\.jsonl isn't there"):
            use(kind, file="absent.jsonl")


def test_a_column_for_no_input_is_named(write, read):
    with pytest.raises(SourceError, match="have no input 'txt'; they have: text") as error:
        read(file=write(ROWS), columns={"txt": "label"})
    assert error.value.hint == "Did you mean 'text'?"


def test_too_few_rows_are_asked_for(write, read):
    with pytest.raises(SourceError, match="holds 12 rows, and rows asks for 3; it takes at least 10"):
        read(file=write(ROWS), rows=3)
    assert len(read(file=write(ROWS), rows=99)) == 12


def test_the_digest_counts_data_and_options_but_not_the_place(tmp_path, write, digest):
    first = digest(file=write(ROWS))
    (tmp_path / "moved.jsonl").write_bytes((tmp_path / "data.jsonl").read_bytes())
    assert digest(file="moved.jsonl") == first
    others = [
        digest(file="data.jsonl", rows=11),
        digest(file="data.jsonl", label="stars"),
        digest(file="data.jsonl", columns={"text": "language"}),
        digest(file="data.jsonl", names=["no", "yes"]),
        digest(file=write(ROWS[1:])),
    ]
    assert len({first, *others}) == 6


# Rated pairs

PAIRS = [{"left": f"l{n // 2}", "right": f"r{n}", "rating": n / 10, "source": "s"} for n in range(12)]


@ENDINGS
def test_rated_pairs_hold_each_text_once(write, read, ending):
    examples = read("rated_pairs", inputs=("words",), file=write(PAIRS, ending))
    texts = [row["words"] for row in examples.rows]
    assert len(texts) == len(set(texts)) == 18
    assert [(texts[left], texts[right]) for left, right in examples.pairs] == [(p["left"], p["right"]) for p in PAIRS]
    assert examples.expected == pytest.approx([pair["rating"] for pair in PAIRS])
    assert examples.columns == {"source": ["s"] * 12}
    first = read("rated_pairs", file=write(PAIRS, ending), rows=10)
    assert (len(first), len(first.rows), len(first.columns["source"])) == (10, 15, 10)
    assert [row["text"] for row in first.rows] == texts[:15]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": 3}, "row 1: left is 3, not a text"),
        ({"rating": "high"}, "row 1: rating is 'high', not a number"),
        ({"rating": True}, "row 1: rating is True, not a number"),
        ({"right": None}, "row 1: 'right' is missing"),
    ],
)
def test_what_isnt_a_rated_pair_is_named(write, read, change, message):
    with pytest.raises(SourceError, match=message):
        read("rated_pairs", file=write([{**PAIRS[0], **change}, *PAIRS]))


def test_a_column_of_rated_pairs_that_lacks_is_named(write, read):
    rows = [{"left": "a", "right": "b", "score": 1.0}] * 10
    with pytest.raises(SourceError, match="no column 'rating'; there are: left, right, score") as error:
        read("rated_pairs", file=write(rows))
    assert "left, right (texts) and rating" in error.value.hint


@pytest.mark.parametrize("kind", ["lee", "rated_pairs"])
def test_rated_pairs_are_for_single_texts(write, read, kind):
    fields = {"file": write(PAIRS)} if kind == "rated_pairs" else {}
    with pytest.raises(
        SourceError, match="rated pairs of single texts; the recipe's rows are text, text_pair"
    ) as error:
        read(kind, inputs=("text", "text_pair"), **fields)
    assert "labelled" in error.value.hint


def test_lee_has_all_pairs_of_fifty_documents(read, digest):
    examples = read("lee")
    assert (len(examples.rows), len(examples)) == (50, 1225)
    assert examples.pairs[[0, 48, 49, -1]].tolist() == [[0, 1], [0, 49], [1, 2], [48, 49]]
    assert (min(examples.expected), max(examples.expected)) == (0.2, 1)
    assert len(read("lee", rows=49).rows) == 50
    assert len(read("lee", rows=20).rows) == 21
    assert digest("lee") != digest("lee", rows=49)


# Python functions

FACTORY = """
from types import SimpleNamespace
import numpy as np

def rows(count=12, **others):
    given = [{"text": f"text {n}", "more": n} for n in range(count)]
    return SimpleNamespace(rows=given, labels=[n % 2 for n in range(count)], **others)

def sounds():
    return SimpleNamespace(rows=[{"waveform": np.ones(4) * n} for n in range(12)], labels=None)

def pairs(pairs=None, labels=None):
    chosen = [[n, n + 1] for n in range(11)] if pairs is None else pairs
    return rows(pairs=chosen, columns={"place": list(range(11))}).__class__(
        rows=rows().rows, labels=list(range(11)) if labels is None else labels, pairs=chosen,
        columns={"place": list(range(11))}, made="counted",
    )

def nothing():
    return {"rows": []}
"""
NAME = "data_of_a_test"


@pytest.fixture
def module(tmp_path):
    (tmp_path / f"{NAME}.py").write_text(FACTORY)
    yield tmp_path
    sys.modules.pop(NAME, None)


@pytest.mark.usefixtures("module")
def test_a_function_makes_rows(read):
    examples = read("python", factory=f"{NAME}:rows", arguments={"count": 15}, names=["even", "odd"], rows=11)
    assert examples.rows[10] == {"text": "text 10"}
    assert examples.expected == ["even", "odd"] * 5 + ["even"]
    sounds = read("python", inputs=("waveform",), factory=f"{NAME}:sounds")
    assert sounds.rows[2]["waveform"].dtype == np.float32
    assert sounds.expected is None


@pytest.mark.usefixtures("module")
def test_a_function_makes_pairs(read):
    examples = read("python", factory=f"{NAME}:pairs", rows=10)
    assert examples.pairs.tolist() == [[n, n + 1] for n in range(10)]
    assert (len(examples.rows), examples.origin) == (11, "counted")
    assert examples.columns == {"place": list(range(10))}


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        ("rows", {"count": 3}, "holds 3 rows; it takes at least 10"),
        ("rows", {"count": 0}, "returned no rows"),
        ("rows", {"columns": {"a": [1]}}, "column 'a' has 1 entries for 12 rows"),
        ("pairs", {"labels": [1, 2]}, "labels has 2 entries for 11 pairs"),
        ("pairs", {"pairs": [[0, 99]]}, "don't name two of 12 rows each"),
        ("pairs", {"pairs": [[0, 1, 2]]}, "don't name two of 12 rows each"),
        ("nothing", {}, "returned a dict without 'rows'"),
        ("sounds", {}, "row 1 has no 'text'; there are: waveform"),
        ("absent", {}, "has no 'absent'"),
    ],
)
def test_what_a_function_makes_wrong_is_named(read, factory, arguments, message):
    with pytest.raises(SourceError, match=message) as error:
        read("python", factory=f"{NAME}:{factory}", arguments=arguments)
    assert error.value.hint


def test_the_digest_of_a_function_counts_all_that_it_is_told(module, digest):
    fields = {"factory": f"{NAME}:rows"}
    (module / "read.txt").write_text("a")
    found = [
        digest("python", **fields),
        digest("python", **fields, arguments={"count": 15}),
        digest("python", **fields, rows=11),
        digest("python", **fields, packages=["numpy"]),
        digest("python", **fields, files=["read.txt"]),
    ]
    (module / "read.txt").write_text("b")
    found.append(digest("python", **fields, files=["read.txt"]))
    (module / "beside.py").write_text("")
    found.append(digest("python", **fields))
    assert len(set(found)) == 7
    assert NAME not in sys.modules


@pytest.mark.usefixtures("module")
def test_data_that_a_function_lacks_is_named(digest):
    with pytest.raises(SourceError, match="package 'no-such-data' isn't installed") as error:
        digest("python", factory=f"{NAME}:rows", packages=["no-such-data"])
    assert error.value.hint == "pip install --no-deps no-such-data"
    with pytest.raises(SourceError, match=r"file .*absent\.txt isn't there"):
        digest("python", factory=f"{NAME}:rows", files=["absent.txt"])


def test_the_zoos_data_can_be_used_as_it_is():
    folder = Path(__file__).parents[2] / "recipes" / "zoo"
    options = options_of("python", factory="labelled.intents:commands", arguments={"test": True}, rows=20)
    examples = DATASETS.get("python").read(options, folder, ("text",))
    assert (len(examples), examples.origin) == (20, "sentences from templates")
