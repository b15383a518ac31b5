"""Python models that Triton runs: a build copies these files, and its own checks import them."""
