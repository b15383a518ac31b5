"""What each change to the serving path gains: forms of the graph in this process, then ways of serving it.

    python benchmarks/performance.py [--rounds 5] [--write docs]

Everything that is compared is measured by turns in the same rounds.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import yaml
from comparing.documents import update_document, versions_here
from comparing.limit import Limit
from comparing.workloads import make_workloads
from gaining.engines import forms_of, measured_forms
from gaining.page import page_from_document
from gaining.servers import measured_ways
from rich.console import Console

import tritonpack
from tritonpack.api import default_store
from tritonpack.core.machine import this_machine

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "bench" / "performance"
_NAME = "minilm"
_TARGETS = {
    "int8_dynamic": {"engine": "onnxruntime", "precision": "int8_dynamic", "quantization": {"layers": "all"}},
    "fp32": {"engine": "onnxruntime", "precision": "fp32"},
    "ov_fp32": {"engine": "openvino", "precision": "fp32"},
    "ov_bf16": {"engine": "openvino", "precision": "bf16"},
    "ov_int8": {"engine": "openvino", "precision": "int8", "quantization": {"layers": "all"}},
}
_CALIBRATION = {"file": "package:tritonpack/loadtest/texts.txt", "samples": 128}


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--write", type=click.Path(path_type=Path, file_okay=False), help="For performance.md and benchmarks.json."
)
def main(rounds: int, write: Path | None) -> None:
    """Measure, and write the page."""
    # Whoever ends it in this way leaves no servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(stderr=True)

    def report(line: str) -> None:
        console.print(f"{time.strftime('%H:%M:%S')} {line}", highlight=False)

    report("building")
    recipe = tritonpack.load_recipe(write_recipe(WORK))
    repository = WORK / "repository"
    tritonpack.build(recipe, tuple(_TARGETS), repository=repository)
    tokenizer = Limit(repository, _NAME).tokenizer
    mixed = make_workloads(tokenizer)["mixed"]
    report("the graph's forms, in process")
    rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(mixed.texts))]
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": asdict(this_machine()),
        "versions": versions_here(),
        "rounds": rounds,
        "graphs": measured_forms(forms_of(recipe, default_store(), WORK / "forms"), rows, rounds),
        "served": measured_ways(repository, _NAME, WORK / "ways", mixed, rounds, report),
    }
    folder = write or WORK
    update_document(folder / "benchmarks.json", "performance", found)
    page = page_from_document(folder / "benchmarks.json")
    (folder / "performance.md").write_text(page, encoding="utf-8")
    report(f"written: {folder / 'performance.md'}")


def write_recipe(folder: Path) -> Path:
    """The demo's model with every target that is compared, in a file."""
    document = yaml.safe_load((ROOT / "recipes" / "minilm.yaml").read_text(encoding="utf-8"))
    # What is compared is decided here and not by a gate.
    document["gates"] = {"min_speedup": None}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document | {"targets": _TARGETS, "calibration": _CALIBRATION}), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
