"""Train small heads on real data, once: ``python recipes/zoo/train.py sentiment intent pairs qa``.

Each is written as a Hugging Face directory, by default below tritonpack's home in ``zoo/NAME``, and is used
again as long as its inputs are the same. The seed is fixed; another number of threads may round differently.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from heads import heads
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tritonpack.core.digest import digest_of_file, digest_of_json
from tritonpack.core.home import home
from tritonpack.core.resources import path_from_location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heads import Head
    from labelled import Labelled

_BATCH = 32
_WARM_UP = 0.1
_RECORD = "training.json"
_CONSOLE = Console(stderr=True)


def trained(name: str, folder: Path, *, threads: int) -> dict[str, Any]:
    """Train a head unless ``folder`` holds it already, and say what it reaches on the test rows."""
    head = heads()[name]
    base = path_from_location(head.base, Path.cwd())
    train, test = head.data(test=False), head.data(test=True)
    weights = digest_of_file(base / "model.safetensors")
    key = digest_of_json([head.facts, weights, [train.rows, train.labels], _BATCH, _WARM_UP])
    record = folder / _RECORD
    if record.is_file() and (found := json.loads(record.read_text(encoding="utf-8")))["key"] == key:
        return {**found, "seconds": 0.0}
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(7)
    started = time.monotonic()
    model, encode = _start(head, base)
    _optimise(model, encode, head, train, name)
    result = {"key": key, "name": name, "accuracy": _accuracy(model, encode, head, test), "test_rows": len(test)}
    result |= {"train_rows": len(train), "steps": head.steps, "seconds": round(time.monotonic() - started, 1)}
    _write(model, base, folder, result)
    return result


def _start(head: Head, base: Path) -> tuple[Any, Any]:
    """The model with a fresh head, and what turns rows into its inputs."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    labels: dict[str, Any] = {}
    if head.labels:
        labels = {"id2label": dict(enumerate(head.labels)), "label2id": {n: i for i, n in enumerate(head.labels)}}
    model = getattr(transformers, head.auto_class).from_pretrained(base, num_hidden_layers=head.layers, **labels)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(base / "tokenizer.json"),
        pad_token="[PAD]",  # noqa: S106  not a password
        padding_side="right",
    )

    def encode(rows: list[dict[str, str]]) -> Any:
        texts = [[row[text] for row in rows] for text in head.texts]
        return tokenizer(*texts, padding=True, truncation=True, max_length=head.max_length, return_tensors="pt")

    return model, encode


def _optimise(model: Any, encode: Any, head: Head, data: Labelled, name: str) -> None:
    """AdamW, its rate warmed up and then led to zero in a line."""
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=head.rate, weight_decay=0.01)
    warm = max(1, int(_WARM_UP * head.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (head.steps - step) / (head.steps - warm))
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_CONSOLE) as progress:
        bar = progress.add_task(f"training {name}", total=head.steps, loss=0.0)
        for places in _batches(data, head.steps):
            rows = encode([data.rows[place] for place in places])
            loss = model(**rows, **_targets(rows, [data.labels[place] for place in places], head)).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress.update(bar, advance=1, loss=loss.item())
    model.eval()


def _batches(data: Labelled, steps: int) -> Iterator[list[int]]:
    """Random batches of rows of similar length, so that little is padding."""
    import torch

    generator = torch.Generator().manual_seed(7)
    lengths = [sum(map(len, row.values())) for row in data.rows]
    given = 0
    while True:
        order = torch.randperm(len(data), generator=generator).tolist()
        for start in range(0, len(order), _BATCH * 16):
            chunk = sorted(order[start : start + _BATCH * 16], key=lengths.__getitem__)
            groups = [chunk[i : i + _BATCH] for i in range(0, len(chunk), _BATCH)]
            for place in torch.randperm(len(groups), generator=generator).tolist():
                if given == steps:
                    return
                given += 1
                yield groups[place]


def _targets(encoded: Any, labels: list[Any], head: Head) -> dict[str, Any]:
    """Class numbers, or the first and the last token of each answer; a cut one counts as the first token."""
    import torch

    if head.labels:
        return {"labels": torch.tensor(labels)}
    spans = []
    for row, (start, answer) in enumerate(labels):
        first = encoded.char_to_token(row, start, 1)
        last = encoded.char_to_token(row, start + len(answer) - 1, 1)
        spans.append((0, 0) if first is None or last is None else (first, last))
    starts, ends = torch.tensor(spans).T
    return {"start_positions": starts, "end_positions": ends}


def _accuracy(model: Any, encode: Any, head: Head, data: Labelled) -> float:
    """Share of test rows whose class, or whose answer's first and last token, is right."""
    import torch

    right = 0
    for start in range(0, len(data), _BATCH):
        rows = encode(list(data.rows[start : start + _BATCH]))
        wanted = _targets(rows, list(data.labels[start : start + _BATCH]), head).values()
        with torch.no_grad():
            output = model(**rows)
        found = (output.logits,) if head.labels else (output.start_logits, output.end_logits)
        hits = [logits.argmax(dim=1) == value for logits, value in zip(found, wanted, strict=True)]
        right += int(torch.stack(hits).all(dim=0).sum())
    return round(right / len(data), 4)


def _write(model: Any, base: Path, folder: Path, result: dict[str, Any]) -> None:
    """Write the directory beside its place, then move it there: half of one is never used."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    model.save_pretrained(draft)
    shutil.copy(base / "tokenizer.json", draft)
    (draft / _RECORD).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(heads()), metavar="NAME", help=", ".join(sorted(heads())))
    parser.add_argument("--out", type=Path, default=home() / "zoo", help="folder of the directories")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of PyTorch")
    arguments = parser.parse_args()
    for name in arguments.names:
        result = trained(name, arguments.out / name, threads=arguments.threads)
        after = f"trained in {result['seconds']:.0f} s" if result["seconds"] else "there already"
        _CONSOLE.print(f"{name}: accuracy {result['accuracy']:.3f} on {result['test_rows']} test rows, {after}")


if __name__ == "__main__":
    _main()
