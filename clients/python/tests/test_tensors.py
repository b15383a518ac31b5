"""Arrays as Triton's messages hold them, and back."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from tritonpack_client import InputTypeError, InvalidInputError, ModelLimits, TensorSpec, UnexpectedAnswerError
from tritonpack_client.tensors import (
    DTYPE_FROM_DATATYPE,
    array_from_content,
    arrays_from_message,
    content_from_items,
    data_from_array,
    items_from_content,
    message_from_arrays,
)

NUMBERS = sorted(set(DTYPE_FROM_DATATYPE) - {"BYTES", "BF16"})
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def content_from_array(tensor, array):
    return bytes(data_from_array(tensor, array))


def limits(*datatypes):
    inputs = tuple(TensorSpec(f"in_{name.lower()}", name, (-1,)) for name in datatypes)
    outputs = tuple(TensorSpec(f"out_{name.lower()}", name, (-1,)) for name in datatypes)
    return ModelLimits("m", 0, inputs, outputs)


def spec(datatype):
    return TensorSpec("x", datatype, (-1,))


def there_and_back(datatype, array):
    return array_from_content(datatype, array.shape, content_from_array(spec(datatype), array))


@pytest.mark.parametrize("datatype", NUMBERS)
@given(st.data())
def test_numbers_come_back_bit_by_bit(datatype, data):
    array = data.draw(hnp.arrays(DTYPE_FROM_DATATYPE[datatype], SHAPES))
    back = there_and_back(datatype, array)
    assert (back.dtype, back.shape, back.flags.writeable) == (array.dtype, array.shape, False)
    # NaN has its payload, and -0.0 its sign.
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("datatype", NUMBERS)
@given(st.data())
def test_order_and_strides_do_not_matter(datatype, data):
    array = data.draw(hnp.arrays(DTYPE_FROM_DATATYPE[datatype], hnp.array_shapes(min_dims=2, max_dims=3, max_side=5)))
    expected = content_from_array(spec(datatype), np.ascontiguousarray(array.T[::-1, ::2]))
    assert content_from_array(spec(datatype), array.T[::-1, ::2]) == expected
    assert content_from_array(spec(datatype), np.asfortranarray(array)) == content_from_array(spec(datatype), array)
    swapped = array.astype(array.dtype.newbyteorder(">"))
    assert content_from_array(spec(datatype), swapped) == content_from_array(spec(datatype), array)


@given(hnp.arrays("float32", SHAPES))
def test_bf16_keeps_eight_bits(array):
    back = there_and_back("BF16", array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(np.isnan(back), np.isnan(array))
    # Exact where the lower half is empty already, and otherwise within half of the last bit that is kept.
    again = there_and_back("BF16", back)
    assert np.array_equal(again, back, equal_nan=True)
    small = np.abs(array) < 3e38
    assert np.all(np.abs(back[small] - array[small]) <= np.maximum(np.abs(array[small]) * 2.0**-8, 2e-40))


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1.0 + 2.0**-8, 1.0),
        (1.0 + 3 * 2.0**-8, 1.0 + 2.0**-6),
        (1.0 + 2.0**-8 + 2.0**-20, 1.0 + 2.0**-7),
        (3.4e38, np.inf),
        (-np.inf, -np.inf),
        (-0.0, -0.0),
    ],
)
def test_bf16_rounds_to_the_nearest_and_ties_to_even(value, rounded):
    assert there_and_back("BF16", np.array([value], np.float32))[0] == np.float32(rounded)


def test_bf16_of_big_endian_and_strided_numbers():
    array = np.arange(12, dtype=">f4")[::-2]
    assert np.array_equal(there_and_back("BF16", array), array)


@given(hnp.arrays("float32", SHAPES, elements=st.floats(width=32, allow_nan=False)))
def test_bf16_is_rounded_as_others_round(array):
    assert content_from_array(spec("BF16"), array) == array.astype(ml_dtypes.bfloat16).tobytes()


@given(hnp.arrays(object, SHAPES, elements=st.binary()))
def test_bytes_come_back(array):
    back = there_and_back("BYTES", array)
    assert (back.dtype, back.shape, back.flags.writeable) == (array.dtype, array.shape, False)
    assert np.array_equal(back, array)


@given(st.lists(st.binary(), min_size=1))
def test_bytes_are_tritons(items):
    array = np.array([*items, b""], dtype=object)[:-1]
    assert content_from_items(items) == serialize_byte_tensor(array).item()
    assert items_from_content(content_from_items(items)) == items
    assert [*deserialize_bytes_tensor(content_from_items(items))] == items


@given(hnp.arrays(object, SHAPES, elements=st.text()))
def test_texts_are_sent_as_utf8(array):
    back = there_and_back("BYTES", array)
    assert [item.decode() for item in back.ravel()] == array.ravel().tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.array([["a", "é"]]),
        np.array([["a", b"\xc3\xa9"]], dtype=object),
        np.array([[b"a", b"\xc3\xa9"]]),
        np.array([[np.bytes_(b"a"), np.str_("é")]], dtype=object),
    ],
)
def test_arrays_of_text_become_bytes(array):
    assert there_and_back("BYTES", array).tolist() == [[b"a", "é".encode()]]


@pytest.mark.parametrize("wrong", [1, None, 1.5, ["a"], bytearray(b"a")])
def test_an_object_array_takes_texts_only(wrong):
    array = np.empty(2, object)
    array[:] = ["a", wrong]
    with pytest.raises(InputTypeError, match=r"input 'x'\[1\] is"):
        content_from_array(spec("BYTES"), array)


def test_a_lone_surrogate_is_named():
    with pytest.raises(InvalidInputError, match=r"input 'x'\[1\] can't be encoded.*character 1"):
        content_from_array(spec("BYTES"), np.array(["a", "b\ud800"], dtype=object))


@pytest.mark.parametrize("datatype", sorted(DTYPE_FROM_DATATYPE))
@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, "complex64"),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4"), ("b", "S1")]),
        np.zeros(2, "V4"),
        np.zeros(2, "longdouble"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_types_that_no_model_takes(datatype, array):
    with pytest.raises(InputTypeError, match=r"input 'x' is .*; the model takes"):
        content_from_array(spec(datatype), array)


def test_another_type_is_not_converted_silently():
    with pytest.raises(InputTypeError, match=r"float64; the model takes float32 \(FP32\).*astype\('float32'\)"):
        content_from_array(spec("FP32"), np.zeros(2))


@pytest.mark.parametrize("wrong", [None, [1.0], 1.0, "text", memoryview(b"1234")])
def test_only_arrays_are_tensors(wrong):
    with pytest.raises(InputTypeError, match="not a NumPy array"):
        content_from_array(spec("FP32"), wrong)


def test_masked_arrays_are_their_values():
    masked = np.ma.masked_array(np.arange(4, dtype=np.float32), mask=[0, 1, 0, 1])
    assert there_and_back("FP32", masked).tolist() == [0, 1, 2, 3]


def test_a_message_has_the_inputs_that_are_given_in_the_order_of_the_model():
    model = limits("FP32", "INT64", "BYTES")
    message = message_from_arrays(
        model, {"in_bytes": np.array([["a"]]), "in_fp32": np.zeros((2, 3), np.float32)}, endpoint="h:1"
    )
    assert message.model_name == "m"
    assert [(item.name, item.datatype, [*item.shape]) for item in message.inputs] == [
        ("in_fp32", "FP32", [2, 3]),
        ("in_bytes", "BYTES", [1, 1]),
    ]
    assert [len(content) for content in message.raw_input_contents] == [24, 5]
    assert [output.name for output in message.outputs] == ["out_fp32", "out_int64", "out_bytes"]


@pytest.mark.parametrize(("name", "said"), [("y", "'y'"), (1, "1"), (None, "None"), ((1, "a"), r"\(1, 'a'\)")])
def test_an_input_that_the_model_does_not_have(name, said):
    with pytest.raises(InvalidInputError, match=f"no input named .*{said}.*; the inputs are in_fp32"):
        message_from_arrays(limits("FP32"), {name: np.zeros(1, np.float32), "z": np.zeros(1)})


def answer(*outputs, contents=None):
    message = service_pb2.ModelInferResponse()
    for name, datatype, shape, content in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_output_contents.append(content)
    if contents is not None:
        del message.raw_output_contents[contents:]
    return message


def test_an_answer_has_its_outputs_by_name():
    arrays = arrays_from_message(
        answer(
            ("a", "INT32", [2, 1], b"\1\0\0\0\2\0\0\0"), ("b", "BYTES", [1], b"\1\0\0\0x"), ("c", "FP32", [0, 3], b"")
        )
    )
    assert arrays["a"].tolist() == [[1], [2]]
    assert arrays["b"].tolist() == [b"x"]
    assert arrays["c"].shape == (0, 3)
    assert not any(array.flags.writeable for array in arrays.values())
    assert arrays_from_message(answer()) == {}


@pytest.mark.parametrize(
    ("datatype", "shape", "content"),
    [
        ("FP32", [2], b"1234"),
        ("FP32", [1], b"123"),
        ("FP32", [-1], b"1234"),
        ("FP32", [-1, -4], b"1234"),
        ("BF16", [1], b"1"),
        ("BF16", [1], b"1234"),
        ("FP32", [2**62, 2**62], b"1234"),
        ("FP32", [1] * 70, b"1234"),
        ("BYTES", [1], b"\1\0\0"),
        ("BYTES", [1], b"\2\0\0\0x"),
        ("BYTES", [1], b"\xff\xff\xff\xffx"),
        ("BYTES", [2], b"\1\0\0\0x"),
        ("BYTES", [-1], b"\1\0\0\0x"),
        ("FP8", [1], b"1"),
        ("", [1], b"1"),
    ],
)
def test_an_answer_that_is_not_what_it_says(datatype, shape, content):
    with pytest.raises(UnexpectedAnswerError, match=r"output 'a' says .*\(model 'm' at h:1\)"):
        arrays_from_message(answer(("a", datatype, shape, content)), model="m", endpoint="h:1")


def test_an_output_without_content():
    with pytest.raises(UnexpectedAnswerError, match="1 outputs have 0 contents"):
        arrays_from_message(answer(("a", "FP32", [1], b"1234"), contents=0))


@given(st.sampled_from([*DTYPE_FROM_DATATYPE, "", "FP8"]), st.lists(st.integers(-2, 4), max_size=4), st.binary())
def test_any_answer_is_an_array_or_an_error_of_ours(datatype, shape, content):
    try:
        arrays = arrays_from_message(answer(("a", datatype, shape, content)))
    except UnexpectedAnswerError:
        return
    assert arrays["a"].shape == tuple(shape)


def test_a_message_of_two_gigabytes_is_refused(monkeypatch):
    monkeypatch.setattr("tritonpack_client.tensors._MOST_BYTES", 100)
    with pytest.raises(InvalidInputError, match="the inputs have 104 bytes; a request holds 100"):
        message_from_arrays(limits("FP32"), {"in_fp32": np.zeros(26, np.float32)})
