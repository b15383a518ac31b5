"""``config.pbtxt``: `render` and `parse` are inverses; `parse` reads through Triton's own protobuf."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from tritonpack.core.errors import ConfigurationError
from tritonpack.repository.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = frozenset(range(ord(" "), ord("~") + 1)) - {ord('"'), ord("\\")}
HEADER = "# Written by `tritonpack build`; the next build writes it again.\n"


def render(config: ModelConfig) -> str:
    """The text of a configuration; the same value always gives the same bytes."""
    return HEADER + "".join(f"{line}\n" for line in _message(config))


def parse(text: str) -> ModelConfig:
    """Read a configuration.

    Raises:
        ConfigurationError: Triton's protobuf refuses the text, or it uses a field that tritonpack
            doesn't write.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ConfigurationError(f"not a Triton model configuration: {error}") from error
    config: ModelConfig = _value(message, ModelConfig)
    return config


def _message(value: Any) -> Iterator[str]:
    for part in fields(value):
        item = getattr(value, part.name)
        if item != _default(part):
            yield from _field(part.name, item)


def _field(name: str, item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        for key, entry in sorted(item.items()):
            yield from _block(name, [f"key: {_scalar(key)}", *_field("value", entry)])
    elif is_dataclass(item):
        yield from _block(name, list(_message(item)))
    elif isinstance(item, tuple) and item and is_dataclass(item[0]):
        for entry in item:
            yield from _block(name, list(_message(entry)))
    elif isinstance(item, tuple):
        yield f"{name}: [ {', '.join(map(_scalar, item))} ]"
    else:
        yield f"{name}: {_scalar(item)}"


def _block(name: str, lines: list[str]) -> Iterator[str]:
    yield f"{name} {{"
    yield from (f"  {line}" for line in lines)
    yield "}"


def _scalar(item: Any) -> str:
    if isinstance(item, Enum):
        return str(item.value)
    if isinstance(item, bool):
        return "true" if item else "false"
    return _quoted(item) if isinstance(item, str) else str(item)


def _quoted(text: str) -> str:
    """A string of protobuf's text format: bytes that aren't printable ASCII as octal escapes.

    Source: https://protobuf.dev/reference/protobuf/textformat-spec/#string
    """
    parts = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(parts)}"'


def _default(part: Any) -> Any:
    """The value that is left out of the text; a field without a default is always written."""
    if part.default_factory is dict:
        return {}
    return part.default


def _value(message: Any, kind: Any) -> Any:
    """A protobuf message as the dataclass ``kind``."""
    hints = get_type_hints(kind)
    known = {part.name for part in fields(kind)}
    # A text may give a scalar its default: that is the same as leaving it out.
    unknown = [descriptor.name for descriptor, _ in message.ListFields() if descriptor.name not in known]
    if unknown:
        raise ConfigurationError(f"{kind.__name__} has fields that tritonpack doesn't write: {', '.join(unknown)}")
    return kind(**{name: _convert(message, name, hints[name]) for name in known})


def _convert(message: Any, name: str, hint: Any) -> Any:
    item = getattr(message, name)
    arguments = [argument for argument in get_args(hint) if argument is not NoneType]
    if get_origin(hint) is tuple:
        return tuple(_element(entry, arguments[0], message, name) for entry in item)
    if get_origin(hint) is dict:
        return {key: _element(item[key], arguments[1], message, name) for key in sorted(item)}
    if NoneType in get_args(hint):
        return _value(item, arguments[0]) if message.HasField(name) else None
    return _element(item, hint, message, name)


def _element(item: Any, kind: Any, message: Any, name: str) -> Any:
    if is_dataclass(kind):
        return _value(item, kind)
    if issubclass(kind, Enum):
        value = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number[item].name
        if value not in {member.value for member in kind}:
            raise ConfigurationError(f"{name} is {value}, which tritonpack doesn't write")
        return kind(value)
    return kind(item)
