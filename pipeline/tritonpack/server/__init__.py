"""Run a real Triton on this machine: the runtime from wheels, one process, its readiness, its end."""
