"""`tritonpack infer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tritonpack.cli.output import json_option, print_json, stdout, table_from_rows
from tritonpack.endpoint import DEFAULT_URL, connected, served_limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN_CHARACTERS = 48
_SHOWN_TEXTS = 12


@click.command()
@click.argument("model")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--url", default=DEFAULT_URL, show_default=True, metavar="HOST:PORT", help="The server's gRPC endpoint.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              metavar="S", help="Seconds that a request may take.")  # fmt: skip
@json_option
def infer(model: str, texts: tuple[str, ...], url: str, timeout_s: float, as_json: bool) -> None:
    """Send each TEXT to the served MODEL and show how alike the texts are.

    With --json the vectors themselves are printed.
    """
    from tritonpack.core.tensors import row_cosines

    with connected(url, timeout_s=timeout_s) as client:
        served_limits(client, model)
        vectors = client.embed(model, texts)
    similarity = row_cosines(vectors[:, None], vectors)
    if as_json:
        print_json(_document(model, url, texts, vectors, similarity))
    else:
        _print(model, texts, vectors, similarity)


def _document(
    model: str, url: str, texts: tuple[str, ...], vectors: NDArray[np.float32], similarity: NDArray[np.float64]
) -> dict[str, Any]:
    return {
        "model": model,
        "url": url,
        "dimension": vectors.shape[1],
        "texts": list(texts),
        "embeddings": vectors.tolist(),
        "cosine_similarity": similarity.round(6).tolist(),
    }


def _print(model: str, texts: tuple[str, ...], vectors: NDArray[np.float32], similarity: NDArray[np.float64]) -> None:
    import numpy as np
    from rich.markup import escape

    norms = np.linalg.norm(vectors, axis=1)
    # More columns than a terminal has room for would only be cut off.
    columns = range(min(len(texts), _SHOWN_TEXTS))
    rows = [
        (index + 1, escape(_shortened(text)), f"{norms[index]:.4f}", *(f"{similarity[index, c]:.3f}" for c in columns))
        for index, text in enumerate(texts)
    ]
    title = f"{model}: {len(texts)} x {vectors.shape[1]} float32, cosine similarity"
    stdout().print(table_from_rows(title, [">", "text", ">norm", *(f">to {c + 1}" for c in columns)], rows))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
