"""Eight numbers from the bytes of a text; two texts make trouble on demand."""

import time
import zlib

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _answer(self, texts):
        words = [text for (text,) in texts]
        if b"sleep" in words:
            time.sleep(1.0)
        if b"fail" in words:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("asked to fail"))
        rows = [np.random.default_rng(zlib.crc32(word)).standard_normal(8) for word in words]
        return pb_utils.InferenceResponse([pb_utils.Tensor("features", np.array(rows, dtype=np.float32))])
