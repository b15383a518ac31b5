"""The steps of an ensemble as objects that are called one after the other; Triton's side is in ``model.py``.

Between two steps a request is its tensors by the ensemble's names, or a `Failure`, which no later step sees.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# Before a stage's import, which reads it: threads of the tokenizer would take the encoder's cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# The session is that of a model of its own.
sys.path.append(str(Path(__file__).resolve().parents[1] / "onnxruntime"))

from doorbell import doorbell_for
from encoder import TYPES, Encoder
from sessions import SESSIONS

__all__ = ["Failure", "Step", "doorbell_for", "warm_up"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    State = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer.

    Attributes:
        by_request: the request is at fault, not the engine.
    """

    message: str
    by_request: bool


class Step:
    """One model of the ensemble.

    Attributes:
        name: the model's.
        seconds: how long it has worked since the start.
        notices: what it has to tell whoever reads the log, taken away by the reader.
        warm_ups: requests that warm it up, as its configuration has them.
    """

    def __init__(self, description: dict[str, Any], models: Path) -> None:
        """Read the step's latest version, or the one that its configuration names.

        Args:
            description: its entry in ``steps.json``.
            models: a folder of models, this one among them.

        Raises:
            OSError: a file can't be read.
            ValueError: the model can't be served, or its configuration has changed since the server started.
            ImportError: the stage's code imports what isn't there.
        """
        self.name: str = description["model"]
        self.inputs: dict[str, str] = description["inputs"]
        self.outputs: dict[str, str] = description["outputs"]
        self.seconds = 0.0
        self.notices: list[str] = []
        folder, config = models / self.name, description["config"]
        text = (folder / description["file"]).read_bytes()
        if hashlib.sha256(text).hexdigest() != description["sha256"]:
            raise ValueError(f"{description['file']} has changed since the server started; start it again")
        self.warm_ups: list[dict[str, Any]] = config.get("model_warmup", [])
        version = _version(folder, config)
        self.encoder: Encoder | None = None
        if config["backend"] in SESSIONS:
            self.encoder = Encoder(config, version)
        else:
            parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
            self.stage = _stage_code(self.name, version).Stage(version, parameters)

    def run(self, states: Sequence[State | Failure]) -> list[State | Failure]:
        """Take all requests that came together one step further."""
        began = time.perf_counter()
        alive = [state for state in states if isinstance(state, dict)]
        answers = iter(self._answers([{name: state[of] for name, of in self.inputs.items()} for state in alive]))
        after: list[State | Failure] = []
        for state in states:
            if isinstance(state, Failure):
                after.append(state)
                continue
            answer = next(answers)
            if isinstance(answer, str):
                after.append(Failure(answer, by_request=self.encoder is None))
            else:
                after.append(state | {of: answer[name] for name, of in self.outputs.items()})
        self.seconds += time.perf_counter() - began
        return after

    def _answers(self, requests: list[State]) -> list[State | str]:
        if not requests:
            return []
        if self.encoder is not None:
            return self.encoder.run(requests)
        answers: list[State | str] = self.stage.run(requests)
        self.notices += self.stage.notices
        self.stage.notices.clear()
        return answers


def warm_up(steps: Sequence[Step]) -> None:
    """Take what would warm up the first step through all of them; that a later one refuses it is no failure."""
    first = steps[0]
    for request in first.warm_ups:
        states: list[State | Failure] = [
            {first.inputs[name]: _zeros(given) for name, given in request["inputs"].items()}
        ]
        for step in steps:
            states = step.run(states)


def _zeros(given: dict[str, Any]) -> np.ndarray[Any, Any]:
    """A row of zeros, or of empty strings."""
    shape = (1, *given["dims"])
    if given["data_type"] == "TYPE_STRING":
        return np.full(shape, b"", np.object_)
    return np.zeros(shape, TYPES[given["data_type"]])


def _version(folder: Path, config: dict[str, Any]) -> Path:
    pinned = config.get("version_policy")
    if pinned:
        return folder / str(pinned["specific"]["versions"][-1])
    versions = [int(child.name) for child in folder.iterdir() if child.name.isdigit()]
    if not versions:
        raise ValueError("it has no version")
    return folder / str(max(versions))


def _stage_code(model: str, version: Path) -> Any:
    """Import ``stage.py`` under a name of its own: two steps have one each."""
    file = version / "stage.py"
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    name = f"stage_of_{model}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # A class with annotations looks for its module by name.
    sys.modules[name] = module
    # The model repository belongs to the build.
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    return module
