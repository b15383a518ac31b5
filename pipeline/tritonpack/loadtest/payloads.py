"""Requests as the bytes that go over the wire, made before anything is measured."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEED = 20


def payloads_from_rows(model: str, rows: Sequence[Mapping[str, str]], *, shuffled: bool = True) -> list[bytes]:
    """Serialize one ``ModelInferRequest`` a row of texts, each input (1, 1) BYTES.

    Args:
        model: the model's name.
        rows: input name -> text.
        shuffled: always in the same way. Texts that stand sorted by length in their file would reach the server
            in batches of equal length, which real traffic never does.
    """
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import serialize_byte_tensor

    payloads = []
    for row in rows:
        request = service_pb2.ModelInferRequest(model_name=model)
        for name, text in row.items():
            request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
            tensor = np.array([[text.encode()]], dtype=np.object_)
            request.raw_input_contents.append(serialize_byte_tensor(tensor).item())
        payloads.append(request.SerializeToString())
    if shuffled:
        random.Random(_SEED).shuffle(payloads)  # noqa: S311 (no secret, always the same order)
    return payloads
