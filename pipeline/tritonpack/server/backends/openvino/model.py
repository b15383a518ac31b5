"""OpenVINO as a Python-based backend: an encoder's configuration is ONNX Runtime's, only the library is another."""

from __future__ import annotations

import sys
from pathlib import Path

# Both backends are one: which library runs the graph is for the session to know.
sys.path.append(str(Path(__file__).resolve().parents[1] / "onnxruntime"))

from alone import TritonPythonModel

__all__ = ["TritonPythonModel"]
