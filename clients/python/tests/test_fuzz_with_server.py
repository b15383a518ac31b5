"""Anything that a program may pass ends in a result or in an error of the client's, and the server goes on."""

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tritonpack_client import AsyncClient, Client, InputTypeError, InvalidInputError, TritonClientError

pytestmark = pytest.mark.server

# The same examples every time; the server answers each in milliseconds.
bounded = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SURROGATES = st.text(st.characters(categories=["Cs", "L", "Cc"]), max_size=20)
TEXTS = st.one_of(st.text(max_size=50), SURROGATES, st.just("\0"), st.just("x" * 10_000))
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.tuples(), st.lists(st.text()))
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.complex_number_dtypes(),
    hnp.array_dtypes(max_size=3),
    st.just(np.dtype(object)),
)
DATATYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "fp16", "fp32", "fp64"]


@pytest.fixture(scope="module")
def url(tasks_url):
    return tasks_url


@pytest.fixture(scope="module")
def client(url):
    with Client(url, timeout_s=30) as client:
        yield client
        # Whatever was sent, the server answers afterwards as it did before.
        assert client.is_ready()
        assert client.embed("hash", ["after"]).shape == (1, 8)
        assert all(state.state == "READY" for state in client.models() if state.reason != "")


def arrays():
    objects = hnp.arrays(object, SHAPES, elements=st.one_of(TEXTS, st.binary(max_size=9), JUNK))
    others = DTYPES.filter(lambda dtype: not dtype.hasobject).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
    backwards = others.map(lambda array: array[..., ::-1] if array.ndim else array)
    return st.one_of(objects, others, others.map(np.transpose), backwards)


def ends_well(call):
    try:
        return call()
    except TritonClientError:
        return None


@bounded
@given(text=TEXTS)
def test_any_text(client, text):
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(InvalidInputError, match="surrogate"):
            client.embed("hash", [text])
    else:
        assert client.embed("hash", [text]).shape == (1, 8)


@bounded
@given(texts=st.one_of(JUNK, TEXTS, st.lists(st.one_of(TEXTS, JUNK)), st.dictionaries(TEXTS, JUNK), arrays()))
def test_anything_as_texts(client, texts):
    # An iterator can be gone through once.
    vectors = ends_well(lambda: client.embed("hash", texts))
    one_by_one = ends_well(lambda: [*client.iter_embed("hash", texts)])
    assert (vectors is None) == (one_by_one is None)
    assert vectors is None or np.array_equal(vectors, one_by_one or np.empty((0, 8)))


@bounded
@given(pairs=st.lists(st.one_of(st.tuples(TEXTS, TEXTS), st.lists(TEXTS, max_size=3), TEXTS, JUNK), max_size=9))
def test_anything_as_pairs(client, pairs):
    scores = ends_well(lambda: client.score_pairs("rerank", pairs))
    assert scores is None or scores.shape == (len(pairs),)
    answers = ends_well(lambda: client.answer("answers", pairs))
    assert answers is None or len(answers) == len(pairs)


@bounded
@given(array=arrays())
def test_any_array(client, array):
    outputs = ends_well(lambda: client.infer("hash", {"text": array}))
    assert outputs is None or outputs["embedding"].shape == (len(array), 8)


@bounded
@given(data=st.data(), name=st.sampled_from([*DATATYPES, "bytes"]))
def test_any_array_of_the_right_type_comes_back(client, data, name):
    dtype = np.dtype({"fp16": "f2", "fp32": "f4", "fp64": "f8", "bytes": object}.get(name, name))
    elements = st.binary(max_size=9) if name == "bytes" else None
    array = data.draw(hnp.arrays(dtype, SHAPES, elements=elements))
    if name != "bytes" and data.draw(st.booleans()):
        array = array.astype(dtype.newbyteorder(">")).T
    outputs = ends_well(lambda: client.infer("echo", {f"in_{name}": array}))
    if outputs is None:
        # The model takes two dimensions; the server refuses other numbers of them.
        assert array.ndim != 2 or array.size == 0
        return
    back = outputs[f"out_{name}"]
    assert back.shape == array.shape
    assert np.array_equal(back, array, equal_nan=dtype.kind == "f")


@bounded
@given(data=st.data(), names=st.sets(st.sampled_from([*DATATYPES, "bytes"])))
def test_arrays_of_any_type_as_inputs_of_every_type(client, data, names):
    outputs = ends_well(lambda: client.infer("echo", {f"in_{name}": data.draw(arrays()) for name in names}))
    assert outputs is None or set(outputs) == {f"out_{name}" for name in names}


@bounded
@given(inputs=st.one_of(st.dictionaries(st.one_of(TEXTS, JUNK.filter(lambda junk: not isinstance(junk, list))), JUNK)))
def test_anything_as_inputs(client, inputs):
    with pytest.raises(TritonClientError):
        client.infer("hash", inputs)


@bounded
@given(model=st.one_of(TEXTS, JUNK.filter(lambda junk: not isinstance(junk, list))))
def test_any_name_of_a_model(client, model):
    # Hypothesis tries words of the sources too, and some of them are names of models.
    assume(model not in {state.name for state in client.models()})
    with pytest.raises(TritonClientError):
        client.embed(model, ["text"])
    with pytest.raises(TritonClientError):
        client.infer(model, {})
    with pytest.raises(TritonClientError):
        list(client.stream(model, {}))
    if model is not None:
        assert not ends_well(lambda: client.is_ready(model))


@pytest.mark.parametrize("inputs", [None, 3, "text", [("text", np.array([["a"]]))], np.zeros(3)])
def test_inputs_are_a_mapping(client, inputs):
    with pytest.raises(InputTypeError, match="inputs is"):
        client.infer("hash", inputs)


@pytest.mark.parametrize("shape", [(0,), (0, 1), (1, 0), (0, 0), (), (2**31, 0), (0, 2**59), (1,) * 30])
@pytest.mark.parametrize("call", ["infer", "stream"])
def test_shapes_of_nothing_and_of_much(client, shape, call):
    array = np.empty(shape, object)
    array[...] = "a"
    ends_well(lambda: list(getattr(client, call)("hash", {"text": array})))
    ends_well(lambda: list(getattr(client, call)("echo", {"in_fp32": np.empty(shape, np.float32)})))


@bounded
@given(batches=st.lists(st.lists(TEXTS, max_size=9), max_size=5))
def test_any_texts_with_asyncio(url, batches):
    async def main():
        async with AsyncClient(url, timeout_s=30) as client:
            calls = [client.embed("hash", texts) for texts in batches]
            return await asyncio.gather(*calls, return_exceptions=True)

    for texts, vectors in zip(batches, asyncio.run(main()), strict=True):
        if isinstance(vectors, BaseException):
            assert isinstance(vectors, InvalidInputError)
        else:
            assert vectors.shape == (len(texts), 8)


@bounded
@given(timeout_s=st.one_of(st.floats(), st.integers()))
def test_any_deadline(client, timeout_s):
    ends_well(lambda: client.embed("hash", ["a"], timeout_s=timeout_s))
    ends_well(lambda: client.infer("hash", {"text": np.array([["a"]])}, timeout_s=timeout_s))
