"""Data sets, metrics and the accuracy gate."""
