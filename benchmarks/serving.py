"""What serving costs: the embedded server through gRPC against the same engine in this process.

    python benchmarks/serving.py [--repository model_repository] [--model minilm] [--rounds 5] [--json]

In each round, one after another, the same texts (seeded, log-normal lengths) go

    in process   sorted by length, in batches of 16 and of 32 (the limit), and one by one
    served       one text a request: one at a time, and with more requests at once

Tokenization is included everywhere. The engine file, the tokenizer and the threads are those of the
repository, and so are the session's options, but for one row with ONNX Runtime's own (its threads spin).
The load generator shares the machine with the server; its share of a core is printed. Figures are medians
over the rounds and ratios are medians of each round's ratio, so that noise on the machine hits both sides.
"""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import grpc  # type: ignore[import-untyped]
import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from tritonclient.grpc import service_pb2

from tritonpack.repository.pbtxt import parse
from tritonpack.server.embedded import ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = "/inference.GRPCInferenceService/ModelInfer"
BATCHES = (16, 32)
TEXTS = 512
SINGLES = 150
WORDS = ".join( ( "


@dataclass(frozen=True)
class Load:
    """What one run against the server gave: requests a second, milliseconds, the generator's share of a core."""

    throughput: float
    p50_ms: float
    p99_ms: float
    client_cores: float


class InProcess:
    """The repository's tokenizer and engine in this process."""

    def __init__(self, repository: Path, model: str, options: dict[str, str]) -> None:
        tokenizer, encoder = (parse_config(repository / f"{model}_{part}") for part in ("tokenizer", "encoder"))
        folder = latest_version(repository / encoder.name)
        session = onnxruntime.SessionOptions()
        threads = encoder.parameters.get("intra_op_thread_count")
        # As many as all served instances have together: two instances of one thread compare with two threads.
        session.intra_op_num_threads = encoder.instance_group[0].count * int(threads.string_value) if threads else 0
        for name, value in options.items():
            session.add_session_config_entry(name, value)
        self.session = onnxruntime.InferenceSession(folder / encoder.default_model_filename, session)
        self.tokenizer = Tokenizer.from_file(str(latest_version(repository / tokenizer.name) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(int(tokenizer.parameters["max_length"].string_value))

    def embed(self, texts: list[str]) -> Any:
        """Tokenize the texts and run them in one call."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        lengths = [len(row) for row in rows]
        tokens = np.concatenate(rows).astype(np.int64)
        feeds = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "sequence_length": np.array(lengths, np.int32)[:, None],
            "longest_sequence": np.zeros(max(lengths), np.float32),
        }
        return self.session.run(None, feeds)[0]

    def throughput(self, texts: list[str]) -> float:
        """Texts a second, sorted by length, with the better size of batch."""
        ordered = sorted(texts, key=lambda text: len(self.tokenizer.encode(text)))
        seconds = [seconds_of(partial(self._run_all, ordered, size)) for size in BATCHES]
        return len(texts) / min(seconds)

    def p50_ms(self, texts: list[str]) -> float:
        """Median milliseconds of a single text."""
        return 1000 * statistics.median(seconds_of(partial(self.embed, [text])) for text in texts)

    def _run_all(self, texts: list[str], size: int) -> None:
        for begin in range(0, len(texts), size):
            self.embed(texts[begin : begin + size])


def parse_config(folder: Path) -> Any:
    """Read a model's configuration."""
    return parse((folder / "config.pbtxt").read_text(encoding="utf-8"))


def latest_version(model: Path) -> Path:
    """The version folder that Triton serves."""
    return max((folder for folder in model.iterdir() if folder.name.isdigit()), key=lambda folder: int(folder.name))


def seconds_of(action: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def make_texts(count: int, seed: int) -> list[str]:
    """Draw texts of log-normal length: about 20 tokens in the mean, 16 in the median, 120 at most."""
    rng, words = np.random.default_rng(seed), WORDS.split()
    lengths = np.clip(np.round(rng.lognormal(np.log(14), 0.75, count)), 1, 118).astype(int)
    return [" ".join(rng.choice(words, length)) for length in lengths]


def request_from_text(model: str, text: str) -> bytes:
    """Serialize a request beforehand, so that the generator costs little."""
    data = text.encode()
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(len(data).to_bytes(4, "little") + data)
    serialized: bytes = request.SerializeToString()
    return serialized


def one_at_a_time(url: str, requests: list[bytes], rounds: int = 3) -> Load:
    """Send requests one after another."""
    with grpc.insecure_channel(url) as channel:
        call = channel.unary_unary(METHOD)
        begin, cpu = time.perf_counter(), time.process_time()
        seconds = [seconds_of(partial(call, body)) for body in requests * rounds]
        return load_from_seconds(seconds, time.perf_counter() - begin, time.process_time() - cpu)


def many_at_once(url: str, requests: list[bytes], concurrency: int, duration_s: float) -> Load:
    """Keep a number of requests in flight."""
    seconds: list[float] = []
    begin, cpu = time.perf_counter(), time.process_time()
    ended = threading.Semaphore(0)

    with grpc.insecure_channel(url) as channel:
        call = channel.unary_unary(METHOD)

        def send(place: int) -> None:
            sent = time.perf_counter()
            if sent - begin > duration_s:
                ended.release()
                return
            future = call.future(requests[place % len(requests)])

            def answered(done: Any) -> None:
                if done.code() is not grpc.StatusCode.OK:
                    ended.release()
                    raise SystemExit(f"the server refused a request: {done.details()}")
                seconds.append(time.perf_counter() - sent)
                send(place + concurrency)

            future.add_done_callback(answered)

        for place in range(concurrency):
            send(place)
        for _ in range(concurrency):
            ended.acquire()
        return load_from_seconds(seconds, time.perf_counter() - begin, time.process_time() - cpu)


def load_from_seconds(seconds: list[float], wall_s: float, cpu_s: float) -> Load:
    """Sum up the latencies of a run."""
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    return Load(len(seconds) / wall_s, float(p50), float(p99), cpu_s / wall_s)


def one_round(url: str, sides: dict[str, InProcess], model: str, concurrencies: tuple[int, ...]) -> dict[str, float]:
    """Measure each side once; the figures by name."""
    texts = make_texts(TEXTS, seed=0)
    requests = [request_from_text(model, text) for text in texts]
    figures: dict[str, float] = {}
    for name, side in sides.items():
        figures[f"{name} texts/s"] = side.throughput(texts)
        figures[f"{name} p50 ms"] = side.p50_ms(texts[:SINGLES])
    single = one_at_a_time(url, requests[:SINGLES])
    figures["served, concurrency 1 texts/s"] = single.throughput
    figures["served, concurrency 1 p50 ms"] = single.p50_ms
    figures["p50 served / in process"] = single.p50_ms / figures["in process p50 ms"]
    figures["p50 served - in process ms"] = single.p50_ms - figures["in process p50 ms"]
    for concurrency in concurrencies:
        load = many_at_once(url, requests, concurrency, duration_s=4.0)
        name = f"served, concurrency {concurrency}"
        figures |= {f"{name} texts/s": load.throughput, f"{name} p50 ms": load.p50_ms, f"{name} p99 ms": load.p99_ms}
        figures[f"{name} cores of the generator"] = load.client_cores
        figures[f"texts/s served ({concurrency}) / in process"] = load.throughput / figures["in process texts/s"]
    return figures


@click.command()
@click.option("--repository", type=click.Path(path_type=Path, exists=True), default="model_repository")
@click.option("--model", default="minilm", show_default=True, help="An ensemble that takes `text`.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--concurrency", "concurrencies", multiple=True, type=int, default=(32,), show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(repository: Path, model: str, rounds: int, concurrencies: tuple[int, ...], as_json: bool) -> None:
    """Measure the embedded server and the same engine in process, side by side."""
    onnxruntime.set_default_logger_severity(3)
    sides = {
        "in process": InProcess(repository, model, {"session.intra_op.spin_duration_us": "20"}),
        "in process, spinning": InProcess(repository, model, {}),
    }
    grpc_port, http_port, metrics_port = free_ports()
    options = ServerOptions(repository, grpc_port, http_port, metrics_port)
    with start(options) as server:
        one_round(server.grpc_url, sides, model, concurrencies[:1])  # caches, thread pools, arenas
        results = [one_round(server.grpc_url, sides, model, concurrencies) for _ in range(rounds)]
    medians = {name: statistics.median(result[name] for result in results) for name in results[0]}
    if as_json:
        print(json.dumps({"cores": os.cpu_count(), "medians": medians, "rounds": results}, indent=2))
        return
    table = Table(title=f"{model}: medians of {rounds} rounds on {os.cpu_count()} cores", box=None)
    for column in ("figure", "median", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, median in medians.items():
        every = [result[name] for result in results]
        table.add_row(name, *(f"{value:.2f}" for value in (median, min(every), max(every))))
    Console().print(table)


if __name__ == "__main__":
    main()
