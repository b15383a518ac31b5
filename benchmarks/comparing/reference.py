"""FP32 PyTorch's vectors of texts: ``python -m comparing.reference MODEL TEXTS.npy VECTORS.npy``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

_LONGEST = 256


def main(model: str, given: Path, made: Path) -> None:
    """Mean over the tokens, of unit length, as the model's own files say."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    vectors = []
    with torch.inference_mode():
        for text in np.load(given).tolist():
            tokens = tokenizer(text, truncation=True, max_length=_LONGEST, return_tensors="pt")
            mean = encoder(**tokens).last_hidden_state[0].mean(0)
            vectors.append((mean / mean.norm()).numpy())
    np.save(made, np.array(vectors))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
