"""LitServe with sentence-transformers, batching on."""

from __future__ import annotations

from peers import BATCH, DELAY_S, SENTENCE_TRANSFORMERS, THREADS, Peer, own_program, run_program


def serve(model: str, port: int) -> None:
    """One worker, whose batches LitServe makes of requests."""
    import litserve
    import torch
    from sentence_transformers import SentenceTransformer

    class Embed(litserve.LitAPI):
        def setup(self, device: str) -> None:
            torch.set_num_threads(THREADS)
            self.encoder = SentenceTransformer(model, device=device)

        def decode_request(self, request: dict[str, str]) -> str:
            return request["text"]

        def predict(self, texts: list[str]) -> object:
            return self.encoder.encode(texts, batch_size=BATCH, show_progress_bar=False)

        def encode_response(self, output: object) -> dict[str, list[float]]:
            return {"embedding": output.tolist()}

    api = Embed(max_batch_size=BATCH, batch_timeout=DELAY_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


PEER = Peer(
    title="LitServe + sentence-transformers",
    environment="litserve",
    requirements=("litserve==0.2.19", *SENTENCE_TRANSFORMERS),
    settings="LitServe's batching, at most 32, waiting 5 ms; sorted by length in sentence-transformers; PyTorch, FP32",
    path="/predict",
    body=lambda text: {"text": text},
    vector=lambda answer: answer["embedding"],
    command=own_program("peers.litserve"),
)

if __name__ == "__main__":
    run_program(serve)
