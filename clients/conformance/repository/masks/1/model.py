"""At each [MASK] of a text stand the word before it (0.75) and the word after it (0.25), "<none>" for no word.

A token's id is the number of its characters. A text without a [MASK] is refused.
"""

import numpy as np
import triton_python_backend_utils as pb_utils

MASK = "[MASK]"


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _answer(self, texts):
        found = [self._masks(text.decode()) for (text,) in texts]
        if [] in found:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"row {found.index([])} has no mask token"))
        shape = (len(found), max(map(len, found)), 2)
        tokens, ids, scores = np.full(shape, b"", np.object_), np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        for row, masks in enumerate(found):
            for column, pair in enumerate(masks):
                tokens[row, column] = [token.encode() for token in pair]
                ids[row, column] = [len(token) for token in pair]
                scores[row, column] = (0.75, 0.25)
        tensors = {"tokens": tokens, "token_ids": ids, "scores": scores}
        tensors["counts"] = np.array([[len(masks)] for masks in found], np.int32)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])

    def _masks(self, text):
        words = ["<none>", *text.split(), "<none>"]
        return [(words[place - 1], words[place + 1]) for place, word in enumerate(words) if word == MASK]
