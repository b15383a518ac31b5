"""Ray Serve with sentence-transformers, batching on."""

from __future__ import annotations

from typing import Any

from peers import BATCH, DELAY_S, SENTENCE_TRANSFORMERS, THREADS, Peer, own_program, run_program

_QUEUED = 1000


def serve(model: str, port: int) -> None:
    """One replica, whose batches Ray makes of requests."""
    import ray
    from ray import serve as ray_serve

    @ray_serve.deployment(num_replicas=1, max_ongoing_requests=_QUEUED)
    class Embed:
        def __init__(self) -> None:
            import torch
            from sentence_transformers import SentenceTransformer

            torch.set_num_threads(THREADS)
            self.encoder = SentenceTransformer(model, device="cpu")

        @ray_serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=DELAY_S)
        async def embed(self, texts: list[str]) -> list[Any]:
            return self.encoder.encode(texts, batch_size=BATCH, show_progress_bar=False).tolist()

        async def __call__(self, request: Any) -> dict[str, list[float]]:
            document = await request.json()
            return {"embedding": await self.embed(document["text"])}

    ray.init(num_cpus=THREADS, include_dashboard=False, log_to_driver=False)
    ray_serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"enable_access_log": False})
    ray_serve.run(Embed.bind(), blocking=True)


PEER = Peer(
    title="Ray Serve + sentence-transformers",
    environment="ray",
    requirements=("ray[serve]==2.60.0", *SENTENCE_TRANSFORMERS),
    settings="Ray's batching, at most 32, waiting 5 ms, one replica; sorted by length in sentence-transformers; "
    "PyTorch, FP32",
    path="/",
    body=lambda text: {"text": text},
    vector=lambda answer: answer["embedding"],
    command=own_program("peers.ray_serve"),
    variables={"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"},
    alone=True,
)

if __name__ == "__main__":
    run_program(serve)
