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
_SHOWN_ENTRIES = 20


@click.command()
@click.argument("model")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--url", default=DEFAULT_URL, show_default=True, metavar="HOST:PORT", help="The server's gRPC endpoint.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              metavar="S", help="Seconds that a request may take.")  # fmt: skip
@json_option
def infer(model: str, texts: tuple[str, ...], url: str, timeout_s: float, as_json: bool) -> None:
    """Send each TEXT to the served MODEL and show its answers.

    A model that takes several texts a row (a pair, a question and its context) gets them in order. Of
    embeddings it is shown how alike the texts are; with --json the vectors themselves are printed.
    """
    from tritonpack.inference import answers_from_rows, rows_from_texts, text_inputs

    with connected(url, timeout_s=timeout_s) as client:
        limits = served_limits(client, model)
        if limits.output("embedding") is not None:
            _show_embeddings(model, url, texts, client.embed(model, texts), as_json=as_json)
            return
        rows = rows_from_texts(texts, text_inputs(limits), model)
        answers = answers_from_rows(client, limits, rows)
    if as_json:
        paired = [{"input": row, "answers": entries} for row, entries in zip(rows, answers, strict=True)]
        print_json({"model": model, "url": url, "rows": paired})
    else:
        _print_answers(model, rows, answers)


def _show_embeddings(
    model: str, url: str, texts: tuple[str, ...], vectors: NDArray[np.float32], *, as_json: bool
) -> None:
    from tritonpack.core.tensors import row_cosines

    similarity = row_cosines(vectors[:, None], vectors)
    if as_json:
        print_json(
            {
                "model": model,
                "url": url,
                "dimension": vectors.shape[1],
                "texts": list(texts),
                "embeddings": vectors.tolist(),
                "cosine_similarity": similarity.round(6).tolist(),
            }
        )
    else:
        _print_similarity(model, texts, vectors, similarity)


def _print_similarity(
    model: str, texts: tuple[str, ...], vectors: NDArray[np.float32], similarity: NDArray[np.float64]
) -> None:
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


def _print_answers(model: str, rows: list[dict[str, str]], answers: list[list[dict[str, Any]]]) -> None:
    from rich.markup import escape

    names = next((list(entries[0]) for entries in answers if entries), [])
    numbers = {name for entries in answers for entry in entries for name in names if not isinstance(entry[name], str)}
    lines = []
    for index, (row, entries) in enumerate(zip(rows, answers, strict=True), start=1):
        shown = [[escape(_cell(entry[name])) for name in names] for entry in entries[:_SHOWN_ENTRIES]]
        first = (index, escape(" | ".join(_shortened(text) for text in row.values())))
        lines += [
            (*(first if place == 0 else ("", "")), *cells) for place, cells in enumerate(shown or [["-"] * len(names)])
        ]
    columns = [">", " | ".join(rows[0]), *(f">{name}" if name in numbers else name for name in names)]
    stdout().print(table_from_rows(f"{model}: {len(rows)} {'row' if len(rows) == 1 else 'rows'}", columns, lines))


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else _shortened(str(value))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
