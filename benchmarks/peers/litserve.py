"""LitServe with sentence-transformers, batching on; its program is `peers._litserve_server`."""

from __future__ import annotations

from peers import SENTENCE_TRANSFORMERS, Peer, own_program

PEER = Peer(
    title="LitServe + sentence-transformers",
    environment="litserve",
    requirements=("litserve==0.2.19", *SENTENCE_TRANSFORMERS),
    settings="LitServe's batching, at most 32, waiting 5 ms; sorted by length in sentence-transformers; PyTorch, FP32",
    path="/predict",
    body=lambda text: {"text": text},
    vector=lambda answer: answer["embedding"],
    command=own_program("peers._litserve_server"),
)
