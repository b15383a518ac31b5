"""The parts of ``benchmarks/serving.py``: what is measured beside one another, and how."""
