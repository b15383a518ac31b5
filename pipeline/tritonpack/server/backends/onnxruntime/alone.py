"""An encoder as a Triton model of its own; ``encoder.py`` says which parameters it takes."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from doorbell import doorbell_for
from encoder import Encoder


class TritonPythonModel:
    """One instance: one session."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session.

        Args:
            args: Triton's description of the model and this instance.
        """
        config = json.loads(args["model_config"])
        try:
            self.encoder = Encoder(config, Path(args["model_repository"], args["model_version"]))
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self.doorbell = doorbell_for(config)
        if self.encoder.costs is not None:
            pb_utils.Logger.log_info(f"{args['model_name']}: rows are cut into parts by {self.encoder.costs}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that the dynamic batcher joined, in their order."""
        with self.doorbell or nullcontext():
            return self._answered(requests)

    def finalize(self) -> None:
        """Leave no connection to the server."""
        if self.doorbell is not None:
            self.doorbell.close()

    def _answered(self, requests: list[Any]) -> list[Any]:
        arrays = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        answers = self.encoder.run(arrays)
        return [_response(request, answer) for request, answer in zip(requests, answers, strict=True)]


def _response(request: Any, answer: dict[str, Any] | str) -> Any:
    if isinstance(answer, str):
        return pb_utils.InferenceResponse([], pb_utils.TritonError(answer))
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in answer.items() if name in wanted]
    )
