"""FastAPI around sentence-transformers, as tutorials write it: one call of the model a request."""

from __future__ import annotations

from peers import SENTENCE_TRANSFORMERS, THREADS, Peer, own_program, run_program


def serve(model: str, port: int) -> None:
    """A function for each request, which FastAPI runs in its thread pool."""
    import torch
    import uvicorn
    from fastapi import Body, FastAPI
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    encoder = SentenceTransformer(model, device="cpu")
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/embed")
    def embed(text: str = Body(embed=True)) -> dict[str, list[float]]:  # noqa: FAST002  a local name can't be found
        return {"embedding": encoder.encode(text, show_progress_bar=False).tolist()}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


PEER = Peer(
    title="FastAPI + sentence-transformers",
    environment="fastapi",
    requirements=("fastapi==0.165.0", "uvicorn==0.54.0", *SENTENCE_TRANSFORMERS),
    settings="no batching of its own: a call of the model for each request, in FastAPI's threads; PyTorch, FP32",
    path="/embed",
    body=lambda text: {"text": text},
    vector=lambda answer: answer["embedding"],
    command=own_program("peers.fastapi_plain"),
)

if __name__ == "__main__":
    run_program(serve)
