"""A text's vector is its number of bytes. "wait:SECONDS" waits until it is cancelled, "fail" fails, "cancelled" counts.

The vector of "cancelled" is how many requests saw that they were cancelled while they waited, in both instances.
"""

import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        # Instances are processes: what they count together is the length of a file.
        self.cancelled = Path(args["model_repository"]) / "cancelled"
        self.cancelled.touch()

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()[0, 0]
        word, _, rest = text.partition(b":")
        value = len(text)
        if word == b"fail":
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("asked to fail"))
        if word == b"wait":
            self._wait(request, time.monotonic() + float(rest))
        if word == b"cancelled":
            value = self.cancelled.stat().st_size
        return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", np.array([[value]], np.float32))])

    def _wait(self, request, end):
        while time.monotonic() < end:
            if request.is_cancelled():
                with self.cancelled.open("a") as file:
                    file.write(".")
                return
            time.sleep(0.01)
