"""What `benchmarks/growth.py` measures, and how it is drawn and written down."""
