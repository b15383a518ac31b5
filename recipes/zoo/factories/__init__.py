"""Factories of models whose packages hold something else than a Hugging Face directory."""
