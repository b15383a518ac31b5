"""From a PyTorch model to a served, verified, load-tested Triton deployment."""

from __future__ import annotations

__version__ = "0.1.0"
