"""What Triton reads: typed model configuration, its text form, the ensemble, the files."""
