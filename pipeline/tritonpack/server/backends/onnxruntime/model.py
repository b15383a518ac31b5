"""ONNX Runtime as a Python-based backend: it serves the configuration that the C++ backend serves, unchanged."""

from __future__ import annotations

from alone import TritonPythonModel

__all__ = ["TritonPythonModel"]
