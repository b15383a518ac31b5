"""A text's vector is its number of bytes; that the model keeps a state is in its configuration alone."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _answer(self, texts):
        lengths = np.array([[len(text)] for (text,) in texts], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", lengths)])
