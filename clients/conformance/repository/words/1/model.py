"""An answer for each word of the text; "sleep:SECONDS" sleeps before its answer, "fail" fails and ends the stream."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            self._stream(request)

    def _stream(self, request):
        (text,) = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
        sender = request.get_response_sender()
        for index, word in enumerate(text.decode().split()):
            if request.is_cancelled():
                break
            if word.startswith("sleep:"):
                time.sleep(float(word.split(":")[1]))
            if word == "fail":
                error = pb_utils.InferenceResponse(error=pb_utils.TritonError("asked to fail"))
                # In one message: Triton 2.51 ends with a segmentation fault where a failed stream's end comes later.
                sender.send(error, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                return
            word_tensor = pb_utils.Tensor("word", np.array([word.encode()], np.object_))
            index_tensor = pb_utils.Tensor("index", np.array([index], np.int32))
            sender.send(pb_utils.InferenceResponse([word_tensor, index_tensor]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
