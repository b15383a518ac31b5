"""One request to a server, with nothing of the client that applications use."""

from __future__ import annotations

import tritonclient.grpc as triton


def answer(client, model, outputs=None, **arrays):
    inputs = []
    for name, array in arrays.items():
        kind = {"O": "BYTES", "i": "INT64", "f": "FP32"}[array.dtype.kind]
        inputs.append(triton.InferInput(name, array.shape, kind))
        inputs[-1].set_data_from_numpy(array)
    wanted = [triton.InferRequestedOutput(name) for name in outputs] if outputs else None
    result = client.infer(model, inputs, outputs=wanted)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}
