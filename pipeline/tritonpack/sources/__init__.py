"""Where a PyTorch model and its tokenizer come from: one file a kind of source."""
