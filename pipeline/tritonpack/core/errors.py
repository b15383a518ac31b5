"""Every error that tritonpack raises on purpose, and the exit code of each family.

    TritonpackError
    ├── ConfigurationError           2  the recipe, an option or an input is wrong
    │   ├── RecipeError                 a recipe doesn't validate
    │   └── SourceError                 a model, tokenizer or data set isn't there or isn't usable
    ├── UnsupportedError             3  right in itself, but not here
    │   └── MissingExtraError           a package that an engine or a stage needs isn't installed
    ├── StageError                   4  a step of the build failed
    │   ├── CompressionError            PyTorch -> smaller PyTorch
    │   ├── ExportError                 PyTorch -> ONNX
    │   ├── LoweringError               ONNX -> ONNX, a precision or the ragged head
    │   ├── CompileError                ONNX -> engine
    │   └── VerificationError           the candidate isn't the reference any more
    ├── StoreError                   5  the store or the model repository can't be read or written
    └── ServerError                  6  the server, a request to it, or a load test
        ├── PortInUseError
        ├── ModelLoadError              Triton refuses a model, with Triton's own reason
        └── LoadTestError               perf_analyzer is missing, or it failed

An error says what happened (``message``), what to do next (``hint``) and the facts as data
(``context``). An exception that is not in this tree is a bug and keeps its traceback.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TritonpackError(Exception):
    """The root. ``str(error)`` is the message alone; the command line adds the hint.

    Args:
        message: what happened, naming the field, file or value.
        hint: what the reader can do about it.
        context: facts for ``--json`` and for tests, e.g. ``field="task.kind"``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context


class ConfigurationError(TritonpackError):
    """The recipe, an option or an input is wrong."""

    exit_code = 2


class RecipeError(ConfigurationError):
    """A recipe doesn't validate."""


class SourceError(ConfigurationError):
    """A model, tokenizer or data set isn't there or isn't usable."""


class UnsupportedError(TritonpackError):
    """What was asked is right in itself, but this machine or combination can't do it."""

    exit_code = 3


class MissingExtraError(UnsupportedError):
    """A package that an engine or a stage needs isn't installed."""


class StageError(TritonpackError):
    """A step of the build failed."""

    exit_code = 4


class CompressionError(StageError):
    """Making the PyTorch model smaller failed."""


class ExportError(StageError):
    """PyTorch to ONNX failed."""


class LoweringError(StageError):
    """An ONNX to ONNX rewrite failed."""


class CompileError(StageError):
    """ONNX to engine failed."""


class VerificationError(StageError):
    """The candidate no longer agrees with the reference."""


class StoreError(TritonpackError):
    """The store or the model repository can't be read or written."""

    exit_code = 5


class ServerError(TritonpackError):
    """The server, a request to it, or a load test failed."""

    exit_code = 6


class PortInUseError(ServerError):
    """A port that the server needs is taken."""


class ModelLoadError(ServerError):
    """Triton refuses a model; the message carries Triton's own reason."""


class LoadTestError(ServerError):
    """The load generator is missing, or it failed."""
