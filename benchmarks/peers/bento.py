"""BentoML with sentence-transformers, adaptive batching on; its program is `peers._bento_service`."""

from __future__ import annotations

from peers import SENTENCE_TRANSFORMERS, Peer, Place


def _command(place: Place) -> list[str]:
    # BentoML passes its environment to the worker, but no arguments of its own making.
    serve = ["env", f"PEER_MODEL={place.model}", str(place.python), "-m", "bentoml", "serve"]
    return [*serve, "peers._bento_service:Embed", "--host", "127.0.0.1", "--port", str(place.port)]


PEER = Peer(
    title="BentoML + sentence-transformers",
    environment="bentoml",
    requirements=("bentoml==1.4.39", *SENTENCE_TRANSFORMERS),
    settings="BentoML's adaptive batching, at most 32, one worker; sorted by length in sentence-transformers; "
    "PyTorch, FP32",
    path="/embed",
    body=lambda text: {"texts": [text]},
    vector=lambda answer: answer[0],
    command=_command,
    variables={"BENTOML_DO_NOT_TRACK": "True"},
)
