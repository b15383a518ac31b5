"""Whether two texts are of the same words: "same" is the share of all their words that both have; the best first."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(*(self._texts(request, name) for name in ("text", "text_pair"))) for request in requests]

    def _texts(self, request, name):
        return [text.decode() for (text,) in pb_utils.get_input_tensor_by_name(request, name).as_numpy()]

    def _answer(self, texts, others):
        same = np.array([self._share(*pair) for pair in zip(texts, others, strict=True)], dtype=np.float32)
        better = np.stack([same, 1 - same], axis=1).reshape(-1, 2)
        order = np.argsort(-better, axis=1, kind="stable")
        labels = np.array([b"same", b"different"], dtype=np.object_)[order]
        scores = np.take_along_axis(better, order, axis=1)
        return pb_utils.InferenceResponse([pb_utils.Tensor("labels", labels), pb_utils.Tensor("scores", scores)])

    def _share(self, text, other):
        words, others = set(text.split()), set(other.split())
        return len(words & others) / len(words | others) if words | others else 1.0
