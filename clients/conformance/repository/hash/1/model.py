"""A vector of length 1 for each text: the eight hexadecimal digits of its CRC-32, each less 7.5, then scaled."""

import zlib

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _answer(self, texts):
        digits = [[int(digit, 16) - 7.5 for digit in f"{zlib.crc32(text):08x}"] for (text,) in texts]
        rows = np.array(digits, dtype=np.float64).reshape(-1, 8)
        vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", vectors)])
