"""Sleeps, and then gives the sum of each row's values, 65536 times, and the row's first values.

The input is read after the sleep: a region that was given to another request meanwhile would show.
"""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        sleep = pb_utils.get_input_tensor_by_name(request, "sleep")
        if sleep is not None:
            time.sleep(float(sleep.as_numpy()[0, 0]))
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        sums = np.repeat(x.sum(axis=1, keepdims=True), 65536, axis=1).astype(np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("sums", sums), pb_utils.Tensor("first", x[:, :3].copy())])
