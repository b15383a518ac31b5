"""Every model family and every task, served, against what `transformers` answers."""
