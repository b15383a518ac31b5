"""A text's vector is its number of bytes, but for some; what a text does depends on its first word, up to a colon.

sleep:SECONDS    sleeps before it answers
fail             fails the request
count:TEXT       the vector is how often TEXT was executed
timeout:SECONDS  the vector is 1 if the request said a timeout of up to SECONDS, else 0

More words after another colon tell texts apart: "sleep:0.5:first".
"""

import time
from collections import Counter

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, _args):
        self.executed = Counter()

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        texts = [text.decode() for (text,) in pb_utils.get_input_tensor_by_name(request, "text").as_numpy()]
        try:
            vectors = np.array([[self._obey(text, request)] for text in texts], np.float32)
        except RuntimeError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", vectors)])

    def _obey(self, text, request):
        word, _, rest = text.partition(":")
        if word == "count":
            return self.executed[rest]
        self.executed[text] += 1
        if word == "timeout":
            return 0 < request.timeout() <= float(rest) * 1e6
        if word == "sleep":
            time.sleep(float(rest.partition(":")[0]))
        if word == "fail":
            raise RuntimeError("asked to fail")
        return len(text.encode())
