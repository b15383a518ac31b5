"""A real Triton without Docker: its environment, its process, its Python-based backends."""
