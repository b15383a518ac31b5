"""NumPy arrays as Triton's messages hold them, and back: pure functions.

Source: https://github.com/triton-inference-server/server/blob/v2.51.0/docs/protocol/README.md and
https://github.com/kserve/kserve/blob/v0.14.0/docs/predict-api/v2/required_api.md#tensor-data
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from tritonpack_client.errors import InputTypeError, InvalidInputError, UnexpectedAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tritonpack_client.limits import ModelLimits, TensorSpec

DTYPE_FROM_DATATYPE: Mapping[str, str] = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "BF16": "float32",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
"""Triton's types and NumPy's. NumPy has no bfloat16: its values go in and out as float32."""

# Made once: making one takes longer than reading a short array.
_LITTLE_ENDIAN = {name: np.dtype(name).newbyteorder("<") for name in DTYPE_FROM_DATATYPE.values()}
# A message of protobuf holds less than 2 GiB.
_MOST_BYTES = 2**31 - 2**16
_LENGTH = struct.Struct("<I")
_NOWHERE: Mapping[str, Place] = {}
_NO_CONTENTS: Mapping[str, bytes] = {}


class Content(NamedTuple):
    """One input of a request.

    Attributes:
        spec: which.
        shape: of the array.
        data: its bytes; they may be the array's own.
    """

    spec: TensorSpec
    shape: tuple[int, ...]
    data: bytes | memoryview


class Place(NamedTuple):
    """Where a tensor lies in shared memory.

    Attributes:
        region: as the server knows it.
        offset: in bytes.
        size: in bytes.
    """

    region: str
    offset: int
    size: int


def message_from_arrays(
    limits: ModelLimits, inputs: Mapping[str, NDArray[Any]], *, endpoint: str = ""
) -> service_pb2.ModelInferRequest:
    """Make a request that holds its inputs and asks for all outputs; raises what `contents_from_arrays` does."""
    return message_from_contents(limits, contents_from_arrays(limits, inputs, endpoint=endpoint))


def contents_from_arrays(
    limits: ModelLimits, inputs: Mapping[str, NDArray[Any]], *, endpoint: str = ""
) -> list[Content]:
    """Turn arrays into what is sent, in the order of the configuration.

    Args:
        limits: the model's.
        inputs: by name, with the batch dimension if the model has one.
        endpoint: for errors.

    Raises:
        InputTypeError: something isn't an array, or not of the type that the model takes.
        InvalidInputError: a name that the model doesn't have, a text that can't be encoded, or more than fits.
    """
    names = [spec.name for spec in limits.inputs]
    if not isinstance(inputs, Mapping):
        raise InputTypeError(f"inputs is {type(inputs).__name__}, not a mapping of names to arrays", model=limits.model)
    if unknown := sorted(repr(name) for name in inputs if name not in names):
        raise InvalidInputError(
            f"no input named {', '.join(unknown)}; the inputs are {', '.join(names)}",
            model=limits.model,
            endpoint=endpoint,
        )
    contents = []
    for spec in limits.inputs:
        if spec.name in inputs:
            data = data_from_array(spec, inputs[spec.name], model=limits.model)
            contents.append(Content(spec, inputs[spec.name].shape, data))
    check_size(limits, contents)
    return contents


def check_size(limits: ModelLimits, contents: Iterable[Content]) -> None:
    """Refuse what no request can hold.

    Raises:
        InvalidInputError: there is too much of it.
    """
    total = sum([len(content.data) for content in contents])
    if total > _MOST_BYTES:
        raise InvalidInputError(f"the inputs have {total} bytes; a request holds {_MOST_BYTES}", model=limits.model)


def message_from_contents(
    limits: ModelLimits,
    contents: Iterable[Content],
    inputs: Mapping[str, Place] = _NOWHERE,
    outputs: Mapping[str, Place] = _NOWHERE,
) -> service_pb2.ModelInferRequest:
    """Make a request that asks for all outputs.

    Args:
        limits: the model's.
        contents: the inputs.
        inputs: those of them that lie in shared memory, by name; the request holds the others.
        outputs: those that the server is to write into shared memory, by name.

    Source: https://github.com/triton-inference-server/server/blob/v2.51.0/docs/protocol/extension_shared_memory.md
    """
    message = service_pb2.ModelInferRequest(model_name=limits.model)
    for spec, shape, data in contents:
        tensor = message.inputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
        if spec.name in inputs:
            _put(tensor, inputs[spec.name])
        else:
            message.raw_input_contents.append(bytes(data))
    for spec in limits.outputs:
        tensor = message.outputs.add(name=spec.name)
        if spec.name in outputs:
            _put(tensor, outputs[spec.name])
    return message


def _put(tensor: Any, place: Place) -> None:
    tensor.parameters["shared_memory_region"].string_param = place.region
    tensor.parameters["shared_memory_offset"].int64_param = place.offset
    tensor.parameters["shared_memory_byte_size"].int64_param = place.size


def itemsize_of(datatype: str) -> int:
    """The bytes of one value; not of BYTES, which have no size of their own."""
    return 2 if datatype == "BF16" else np.dtype(DTYPE_FROM_DATATYPE[datatype]).itemsize


def data_from_array(spec: TensorSpec, array: NDArray[Any], *, model: str = "") -> bytes | memoryview:
    """The bytes of an array, without a copy where it lies in memory as they do.

    Raises:
        InputTypeError: it's no array, or not of the type that the model takes.
        InvalidInputError: a text can't be encoded.
    """
    if not isinstance(array, np.ndarray):
        raise InputTypeError(f"input {spec.name!r} is {type(array).__name__}, not a NumPy array", model=model)
    # Kinds of array of their own, such as masked ones, flatten in ways of their own.
    array = np.asarray(array)
    if spec.datatype == "BYTES":
        if array.dtype.kind not in "OSU":
            raise InputTypeError(f"input {spec.name!r} is {array.dtype}; the model takes str or bytes", model=model)
        return content_from_items(encode_items(f"input {spec.name!r}", array.ravel().tolist()))
    wanted = DTYPE_FROM_DATATYPE[spec.datatype]
    if array.dtype.newbyteorder("=") != wanted:
        raise InputTypeError(
            f"input {spec.name!r} is {array.dtype}; the model takes {wanted} ({spec.datatype})",
            model=model,
            hint=f"array.astype('{wanted}') converts it",
        )
    if spec.datatype == "BF16":
        array = _rounded_to_bf16(array)
    # Triton reads little endian.
    ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data


def _rounded_to_bf16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), (bits >> 16) | 0x40, rounded).astype("<u2")


def encode_items(name: str, items: Iterable[object]) -> list[bytes]:
    """Encode texts as UTF-8; leave bytes as they are.

    Args:
        name: what holds them, for errors.
        items: each ``str`` or ``bytes``.

    Raises:
        InputTypeError: one is something else.
        InvalidInputError: a text can't be encoded.
    """
    return [item if isinstance(item, bytes) else encode_text(name, place, item) for place, item in enumerate(items)]


def encode_text(name: str, place: int, text: object) -> bytes:
    """Encode one text as UTF-8.

    Args:
        name: what holds it, for errors.
        place: where it stands there.
        text: a ``str``.

    Raises:
        InputTypeError: it isn't.
        InvalidInputError: it holds a lone surrogate, which UTF-8 can't express.
    """
    if not isinstance(text, str):
        raise InputTypeError(
            f"{name}[{place}] is {type(text).__name__}, not str",
            hint="Decode bytes first, and leave out what is missing",
        )
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{name}[{place}] can't be encoded as UTF-8: a lone surrogate {text[error.start]!r} at character "
            f"{error.start}",
            hint="text.encode('utf-8', 'replace').decode() replaces it with '?'",
        ) from error


def content_from_items(items: Sequence[bytes]) -> bytes:
    """Each item's length in four bytes, and the item."""
    pack = _LENGTH.pack
    return b"".join([part for item in items for part in (pack(len(item)), item)])


def items_from_content(content: bytes) -> list[bytes]:
    """The inverse of `content_from_items`.

    Raises:
        ValueError: the lengths and the bytes don't go together.
    """
    items, place, end = [], 0, len(content)
    while place < end:
        begin = place + 4
        if begin > end:
            raise ValueError("half a length")
        place = begin + int.from_bytes(content[place:begin], "little")
        if place > end:
            raise ValueError("an item ends after the content")
        items.append(content[begin:place])
    return items


def arrays_from_message(
    response: service_pb2.ModelInferResponse,
    *,
    model: str = "",
    endpoint: str = "",
    contents: Mapping[str, bytes] = _NO_CONTENTS,
) -> dict[str, NDArray[Any]]:
    """The outputs of an answer by name; BYTES are object arrays of ``bytes``.

    Args:
        response: the answer.
        model: for errors.
        endpoint: for errors.
        contents: of outputs whose bytes aren't in the answer.

    Raises:
        UnexpectedAnswerError: what is in it isn't what it says.
    """
    if len(response.outputs) != len(response.raw_output_contents):
        raise UnexpectedAnswerError(
            f"{len(response.outputs)} outputs have {len(response.raw_output_contents)} contents",
            model=model,
            endpoint=endpoint,
        )
    arrays = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        content = contents.get(output.name, raw)
        try:
            arrays[output.name] = array_from_content(output.datatype, tuple(output.shape), content)
        except (ValueError, KeyError) as error:
            raise UnexpectedAnswerError(
                f"output {output.name!r} says {output.datatype} {list(output.shape)}, which its {len(content)} bytes "
                f"aren't",
                model=model,
                endpoint=endpoint,
            ) from error
    return arrays


def array_from_content(datatype: str, shape: tuple[int, ...], content: bytes) -> NDArray[Any]:
    """The array of these bytes, not writable.

    Raises:
        ValueError: they aren't of that shape.
        KeyError: Triton has no such type.
    """
    dtype = DTYPE_FROM_DATATYPE[datatype]
    array: NDArray[Any]
    if datatype == "BYTES":
        items = items_from_content(content)
        array = np.empty(len(items), dtype=np.object_)
        array[:] = items
    elif datatype == "BF16":
        array = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(content, _LITTLE_ENDIAN[dtype])
    if shape and min(shape) < 0:
        raise ValueError("a negative dimension")
    array.flags.writeable = False
    return array.reshape(shape)
