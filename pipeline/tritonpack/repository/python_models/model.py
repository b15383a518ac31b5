"""Triton model around a stage of the ensemble.

The build copies this file to ``<recipe>_<stage>/1/model.py``, and the stage's own code beside it as ``stage.py``.
The stage sees arrays by name, one dictionary a request, and answers the same way; or with a text that says
what is wrong with the request, which then fails alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# Before the stage's import, which reads it: threads of the tokenizer would take the encoder's cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import triton_python_backend_utils as pb_utils
from stage import Stage


class TritonPythonModel:
    """One instance of the stage."""

    def initialize(self, args: dict[str, str]) -> None:
        """Make the stage.

        Args:
            args: Triton's description of the model and this instance.
        """
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        self.name = args["model_name"]
        try:
            self.stage = Stage(Path(args["model_repository"], args["model_version"]), parameters)
        except (OSError, ValueError) as error:
            raise pb_utils.TritonModelException(f"{error}; build the model again") from error

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the stage once for all requests that came together."""
        arrays = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        answers = self.stage.run(arrays)
        for notice in self.stage.notices:
            pb_utils.Logger.log_warn(f"{self.name}: {notice}")
        self.stage.notices.clear()
        return [_response(answer) for answer in answers]


def _response(answer: dict[str, Any] | str) -> Any:
    if isinstance(answer, str):
        return pb_utils.InferenceResponse([], pb_utils.TritonError(answer, pb_utils.TritonError.INVALID_ARG))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])
