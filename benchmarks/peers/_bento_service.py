"""The program of `peers.bento`: BentoML imports a module, in the peer's environment alone."""

import os

import bentoml
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from peers import BATCH, THREADS

_LATENCY_MS = 60_000
"""BentoML refuses what it expects to take longer; the other peers refuse nothing."""


@bentoml.service(
    workers=1,
    traffic={"timeout": _LATENCY_MS // 1000, "max_concurrency": 1000},
    logging={"access": {"enabled": False}},
)
class Embed:
    """One worker, whose batches BentoML makes of requests."""

    def __init__(self) -> None:
        torch.set_num_threads(THREADS)
        self.encoder = SentenceTransformer(os.environ["PEER_MODEL"], device="cpu")

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=_LATENCY_MS)
    def embed(self, texts: list[str]) -> np.ndarray:
        """Vectors ``(rows, 384) float32``."""
        return np.asarray(self.encoder.encode(texts, batch_size=BATCH, show_progress_bar=False))
