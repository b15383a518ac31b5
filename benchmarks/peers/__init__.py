"""What serves sentence embeddings in Python beside us: one file a peer.

A peer's file holds ``PEER`` and, where the peer is a library, ``serve(model, port)``, its program as the peer's own
documents write it. It is imported twice: by the benchmark, which reads ``PEER``, and as ``python -m peers.NAME`` by
the interpreter of the peer's environment. So this package imports nothing outside the standard library, and a
peer's own packages are imported inside its functions.

``locks/`` holds every package of each environment, so that a later day installs the same.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
THREADS = 2
"""Of torch or ONNX Runtime, in each peer and in our own server."""
BATCH = 32
"""The greatest batch, for peers that want a number."""
DELAY_S = 0.005
"""How long a peer that wants a number waits for company."""
SENTENCE_TRANSFORMERS = ("torch==2.13.0", "sentence-transformers==6.2.0", "transformers==5.23.0")


@dataclass(frozen=True)
class Place:
    """Where a peer runs.

    Attributes:
        python: the interpreter of its environment.
        model: a folder with the weights, as sentence-transformers lays them out.
        work: a folder of its own for what it makes.
        port: to listen on, on the loopback address.
    """

    python: Path
    model: Path
    work: Path
    port: int


@dataclass(frozen=True)
class Peer:
    """A server that others would use.

    Attributes:
        title: as tables write it.
        environment: name of its environment; two peers may share one.
        requirements: what is installed, pinned.
        settings: how it batches and what was set, for the documents.
        path: of the POST request that embeds.
        body: the request's document of a text.
        vector: the vector in an answer's document, or one for each token, which are to be averaged.
        command: starts it.
        prepare: done once, after the installation.
        variables: of its environment, beside the common ones.
        alone: it dislikes being stopped while another is measured.
        is_fp32: else it serves the weights in fewer bits.
    """

    title: str
    environment: str
    requirements: tuple[str, ...]
    settings: str
    path: str
    body: Callable[[str], dict[str, Any]]
    vector: Callable[[Any], Any]
    command: Callable[[Place], list[str]]
    prepare: Callable[[Place], None] = lambda _: None
    variables: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    is_fp32: bool = True

    @property
    def lock(self) -> Path:
        """Every package of its environment."""
        return FOLDER / "locks" / f"{self.environment}.txt"


def own_program(name: str) -> Callable[[Place], list[str]]:
    """Start ``serve`` of a peer's file; the file ends with `run_program`."""
    return lambda place: [str(place.python), "-m", name, str(place.model), str(place.port)]


def run_program(serve: Callable[[str, int], None]) -> None:
    """Serve the model and the port that `own_program` put on the command line."""
    serve(sys.argv[1], int(sys.argv[2]))


def all_peers() -> dict[str, Peer]:
    """Every peer by the name of its file."""
    names = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
    return {name: importlib.import_module(f"peers.{name}").PEER for name in names}
