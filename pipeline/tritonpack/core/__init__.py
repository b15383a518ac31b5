"""What every room stands on: errors, artifacts, actions, the store, the registry. Standard library and NumPy only."""
