"""perf_analyzer: how to get it, drive it and read it."""
