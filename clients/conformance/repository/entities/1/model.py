"""Entities are the words (between spaces) that begin with a capital letter (NAME) or are digits (NUMBER).

An entity's score is 1 - 1 / (1 + its characters).
"""

import re

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "text").as_numpy()) for request in requests]

    def _answer(self, texts):
        found = [self._entities(text.decode()) for (text,) in texts]
        shape = (len(found), max(1, *map(len, found)))
        entities, labels = np.full(shape, b"", np.object_), np.full(shape, b"", np.object_)
        scores = np.zeros(shape, np.float32)
        starts, ends = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
        for row, items in enumerate(found):
            for column, (word, label, start) in enumerate(items):
                entities[row, column], labels[row, column] = word.encode(), label
                scores[row, column] = 1 - 1 / (1 + len(word))
                starts[row, column], ends[row, column] = start, start + len(word)
        tensors = {"entities": entities, "labels": labels, "scores": scores, "starts": starts, "ends": ends}
        tensors["counts"] = np.array([[len(items)] for items in found], np.int32)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])

    def _entities(self, text):
        words = [(word.group(), word.start()) for word in re.finditer(r"[^ ]+", text)]
        return [
            (word, b"NUMBER" if word.isdigit() else b"NAME", start)
            for word, start in words
            if word.isdigit() or word[0].isupper()
        ]
