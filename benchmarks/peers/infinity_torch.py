"""infinity-emb with its torch engine, started by its own command line."""

from __future__ import annotations

from peers import BATCH, Peer, Place

MODEL = "minilm"


def command_of(place: Place, engine: str, model: object) -> list[str]:
    """Infinity's command line; what it leaves out stands at infinity's defaults."""
    program = [str(place.python.with_name("infinity_emb")), "v2", "--host", "127.0.0.1", "--port", str(place.port)]
    options = ["--model-id", str(model), "--served-model-name", MODEL, "--batch-size", str(BATCH)]
    return [*program, *options, "--engine", engine, "--device", "cpu", "--log-level", "warning"]


PEER = Peer(
    title="infinity-emb, torch",
    environment="infinity",
    requirements=("torch==2.13.0", "infinity-emb[server,torch,optimum]==0.0.78", "transformers==4.57.6"),
    settings="its own dynamic batching, sorted by length, at most 32; PyTorch, FP32",
    path="/embeddings",
    body=lambda text: {"model": MODEL, "input": [text]},
    vector=lambda answer: answer["data"][0]["embedding"],
    command=lambda place: command_of(place, "torch", place.model),
    variables={"INFINITY_ANONYMOUS_USAGE_STATS": "0"},
)
