"""An ensemble's steps in one process: the Python stages and the encoder, without a hop between them.

The embedded server serves an ensemble this way where all its steps are tritonpack's own (``server/view.py``), in
place of one process for each of them. ``steps.json`` beside the links to the steps' models says which they are:

    {"steps": [{"model": ..., "file": "config.pbtxt", "sha256": ..., "config": {}, "inputs": {}, "outputs": {}}]}

``config`` is what ``file`` says, as JSON, and ``inputs`` and ``outputs`` go from the step's names to the ensemble's.
The steps' versions are found here, so that loading the model again serves what was built meanwhile.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from metrics import Counters
from steps import Failure, Step, doorbell_for, warm_up


class TritonPythonModel:
    """One instance of the whole ensemble."""

    def initialize(self, args: dict[str, str]) -> None:
        """Make the steps.

        Args:
            args: Triton's description of the model and this instance.
        """
        folder = Path(args["model_repository"], args["model_version"])
        config = json.loads(args["model_config"])
        self.outputs = [entry["name"] for entry in config["output"]]
        self.doorbell = doorbell_for(config)
        self.steps = []
        for description in json.loads((folder / "steps.json").read_text(encoding="utf-8"))["steps"]:
            try:
                step = Step(description, folder)
            except (OSError, ValueError, ImportError) as error:
                raise pb_utils.TritonModelException(f"step '{description['model']}': {error}") from error
            self.steps.append(step)
            if step.encoder is not None and step.encoder.costs is not None:
                pb_utils.Logger.log_info(f"{step.name}: rows are cut into parts by {step.encoder.costs}")
        warm_up(self.steps)
        self.counters = Counters(args["model_name"], self.steps)

    def finalize(self) -> None:
        """Count what is still to be counted."""
        self.counters.stop()
        if self.doorbell is not None:
            self.doorbell.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Take all requests that came together through the steps."""
        with self.doorbell or nullcontext():
            return self._answered(requests)

    def _answered(self, requests: list[Any]) -> list[Any]:
        states: Any = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        for step in self.steps:
            states = step.run(states)
            while step.notices:
                pb_utils.Logger.log_warn(f"{step.name}: {step.notices.pop(0)}")
        return [self._response(request, state) for request, state in zip(requests, states, strict=True)]

    def _response(self, request: Any, state: Any) -> Any:
        if isinstance(state, Failure):
            code = pb_utils.TritonError.INVALID_ARG if state.by_request else pb_utils.TritonError.INTERNAL
            return pb_utils.InferenceResponse([], pb_utils.TritonError(state.message, code))
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, np.ascontiguousarray(state[name])) for name in self.outputs if name in wanted]
        )
