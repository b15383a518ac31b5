"""MLServer with its Hugging Face runtime: transformers' feature extraction, which answers a vector a token."""

from __future__ import annotations

import json

from peers import THREADS, Peer, Place

MODEL = "minilm"


def _write_settings(place: Place) -> None:
    """MLServer's two files; the port is given by its environment."""
    server = {"host": "127.0.0.1", "parallel_workers": 1, "metrics_endpoint": None, "access_log_enabled": False}
    runtime = {
        "task": "feature-extraction",
        "pretrained_model": str(place.model),
        "framework": "pt",
        "intra_op_threads": THREADS,
    }
    model = {
        "name": MODEL,
        "implementation": "peers._mlserver_runtime.HuggingFaceRuntime",
        "parameters": {"extra": runtime},
    }
    (place.work / MODEL).mkdir(exist_ok=True)
    (place.work / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (place.work / MODEL / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")


def _command(place: Place) -> list[str]:
    ports = [f"MLSERVER_HTTP_PORT={place.port}", f"MLSERVER_GRPC_PORT={place.port + 1}"]
    return ["env", *ports, str(place.python.with_name("mlserver")), "start", str(place.work)]


def _body(text: str) -> dict[str, object]:
    tensor = {"name": "args", "shape": [1], "datatype": "BYTES", "data": [text]}
    return {"inputs": [tensor]}


PEER = Peer(
    title="MLServer, Hugging Face runtime",
    environment="mlserver",
    requirements=(
        "torch==2.13.0",
        "mlserver==1.7.1",
        "mlserver-huggingface==1.7.1",
        "transformers==4.41.2",
        "uvloop==0.21.0",
    ),
    settings="no batching, as by default: of a batch that MLServer makes, this runtime answers the first request alone "
    "and leaves the others empty; one worker; PyTorch, FP32; it answers with a vector for each token, and whoever asks "
    "has to average them",
    path=f"/v2/models/{MODEL}/infer",
    body=_body,
    vector=lambda answer: json.loads(answer["outputs"][0]["data"][0]),
    command=_command,
    prepare=_write_settings,
)
