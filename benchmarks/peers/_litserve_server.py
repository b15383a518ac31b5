"""The program of `peers.litserve`: LitServe's worker process imports a module."""

from __future__ import annotations

import sys

import litserve
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from peers import BATCH, DELAY_S, THREADS


class Embed(litserve.LitAPI):
    """One worker, whose batches LitServe makes of requests."""

    def setup(self, device: str) -> None:
        """Load the model."""
        torch.set_num_threads(THREADS)
        self.encoder = SentenceTransformer(sys.argv[1], device=device)

    def decode_request(self, request: dict[str, str]) -> str:
        """The text of a request."""
        return request["text"]

    def predict(self, texts: list[str]) -> np.ndarray:
        """Vectors ``(rows, 384) float32``."""
        return np.asarray(self.encoder.encode(texts, batch_size=BATCH, show_progress_bar=False))

    def encode_response(self, output: np.ndarray) -> dict[str, list[float]]:
        """The answer's document."""
        return {"embedding": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Embed(max_batch_size=BATCH, batch_timeout=DELAY_S), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
