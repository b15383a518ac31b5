"""How well a text fits a question: the share of the question's words that the text has, 0 for no words."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(*(self._texts(request, name) for name in ("text", "text_pair"))) for request in requests]

    def _texts(self, request, name):
        return [text.decode() for (text,) in pb_utils.get_input_tensor_by_name(request, name).as_numpy()]

    def _answer(self, texts, others):
        scores = np.array([[self._share(*pair)] for pair in zip(texts, others, strict=True)], dtype=np.float32)
        labels = np.full(scores.shape, b"relevance", dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("labels", labels), pb_utils.Tensor("scores", scores)])

    def _share(self, question, text):
        words = set(question.split())
        return len(words & set(text.split())) / len(words) if words else 0.0
