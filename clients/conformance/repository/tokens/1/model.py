"""After a text comes its last word again, with a space before it (0.75), or "." (0.25).

A token's id is the number of its characters. After a text without words the first token is one space.
"""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _answer(self, texts):
        first = [f" {''.join(text.decode().split()[-1:])}" for (text,) in texts]
        tensors = {
            "tokens": np.array([[token.encode(), b"."] for token in first], np.object_),
            "token_ids": np.array([[len(token), 1] for token in first], np.int32),
            "scores": np.array([[0.75, 0.25]] * len(first), np.float32),
        }
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
