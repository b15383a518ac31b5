"""What runs a graph: one file an engine."""
