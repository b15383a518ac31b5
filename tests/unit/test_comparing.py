"""The parts of the serving benchmark that need no server of ours: what is sent, read, added up and written."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from comparing import tables
from comparing.documents import update_document
from comparing.environments import Environments, InstallError, variables_from_pip
from comparing.loads import generate_http, request_of_document
from comparing.page import page_from_document
from comparing.profile import counters_from_text
from comparing.results import Results
from comparing.rounds import BEST, CACHED, FP32, HTTP, INT8, SINGLE, Cell, Rounds, cells
from comparing.sides import Figures
from comparing.targets import targets
from comparing.workloads import Workload
from peers import Peer, all_peers

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.traffic import Arrivals, Closed


@pytest.fixture
def server():
    """Answers POST: in chunks below /chunked, too briefly below /brief, with 503 below /full."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"x" * (10 if self.path == "/brief" else 3000)
            self.send_response(503 if self.path == "/full" else 200)
            if self.path == "/chunked":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"bb8\r\n" + body + b"\r\n0\r\n\r\n")
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as found:
        thread = Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found.server_port
        found.shutdown()
        thread.join()


def ask(port, path, load, duration_s=0.5):
    requests = [request_of_document("127.0.0.1", port, path, {"text": "hello"})]
    return generate_http("127.0.0.1", port, requests, load, duration_s, warm_up_s=0.1, timeout_s=5.0)


@pytest.mark.parametrize("path", ["/whole", "/chunked"])
def test_answers_over_http_are_counted(server, path):
    level, sent = ask(server, path, Closed(4))
    assert level.requests > 0
    assert not level.failures
    assert sent >= level.requests


def test_an_open_loop_sends_all_that_is_due(server):
    level, sent = ask(server, "/whole", Arrivals(40.0, poisson=False))
    assert (level.requests, sent) == (20, 24)
    assert level.offered_per_s == 40


@pytest.mark.parametrize(("path", "told"), [("/brief", "status 200, "), ("/full", "status 503")])
def test_what_is_no_answer_counts_as_a_failure(server, path, told):
    with pytest.raises(LoadTestError, match=told):
        ask(server, path, Closed(1))


def test_nobody_there_is_told():
    with pytest.raises(LoadTestError, match="UNAVAILABLE"):
        ask(1, "/whole", Arrivals(20.0))


def test_uv_asks_where_pip_asks():
    listed = """:env:.find-links='/wheels'
global.extra-index-url='https://one.example/simple\\n https://two.example/simple'
global.index-url='https://index.example/simple'
global.timeout='60'
"""
    assert variables_from_pip(listed) == {
        "UV_FIND_LINKS": "/wheels",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_an_environment_that_is_there_is_taken_as_it_is(tmp_path, monkeypatch):
    peer = all_peers()["litserve"]
    ran = []

    def run(_, *arguments):
        ran.append(arguments[0])
        if arguments[0] == "venv":
            Path(arguments[-1], "bin").mkdir(parents=True)
        return "litserve==0.2.19\n"

    monkeypatch.setattr(Environments, "_run", run)
    first, again = (Environments(tmp_path).ensure(peer) for _ in range(2))
    assert first == again
    assert first.versions == {"litserve": "0.2.19"}
    assert ran == ["venv", "pip", "pip"]


def test_a_peer_that_cannot_be_installed_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(Environments, "_uv", lambda _: Path("/bin/false"))
    with pytest.raises(InstallError):
        Environments(tmp_path).ensure(all_peers()["litserve"])


@pytest.mark.parametrize("name", sorted(all_peers()))
def test_peers_are_pinned_and_their_requests_are_json(name):
    peer = all_peers()[name]
    assert all("==" in requirement for requirement in peer.requirements)
    locked = dict(line.split("==") for line in peer.lock.read_text().splitlines())
    for requirement in peer.requirements:
        package, version = requirement.split("==")
        assert locked[package.partition("[")[0].lower()] == version
    assert "hello" in json.dumps(peer.body("hello"))
    assert peer.path.startswith("/")


def test_every_peer_of_the_plan_is_there():
    kinds = (
        "infinity_torch",
        "infinity_onnx",
        "mlserver_hf",
        "litserve",
        "fastapi_plain",
        "bento",
        "ray_serve",
        "infinity_onnx_int8",
    )
    assert set(kinds) == set(all_peers())
    assert all(isinstance(peer, Peer) for peer in all_peers().values())


def figures(rate, p50=10.0):
    return {"texts_per_s": rate, "p50_ms": p50, "p99_ms": 2 * p50, "cpu_ms": 1.0, "failed": 0, "generator_cores": 0.1}


class Side:
    """A server whose throughput is known."""

    def __init__(self, name, rate):
        self.name, self.rate, self.ready_s, self.asked = name, rate, 1.0, []

    def ask(self, workload, load, duration_s):
        self.asked.append((workload.name, load.label, duration_s))
        if self.rate == 0:
            raise LoadTestError("no request was answered")
        return Figures(**figures(self.rate))


class Limit:
    def throughput(self, texts):
        return 10.0 * len(texts), 16

    def single_ms(self, texts):
        return {"p50_ms": 1.0, "p99_ms": 2.0, "tokenizer_ms": 0.1, "encoder_ms": 0.9, "texts": len(texts)}


WORKLOADS = {
    name: Workload(name, "texts", ("a", "b"), repeated=name == "repeated")
    for name in ("mixed", "short", "paragraphs", "repeated")
}


def rounds_of(sides, plan, count=2, minutes=1.0):
    import time

    rounds = Rounds(WORKLOADS, {"limit, INT8": Limit()}, time.monotonic() + 60 * minutes, lambda _: None)
    rounds.run(0, sides, plan, count, 1.0)
    return rounds.measured


def test_sides_take_turns_and_another_one_begins_each_round():
    measured = rounds_of([Side("one", 5.0), Side("two", 7.0)], [Cell("mixed", Closed(1))])
    asked = [entry.side for entry in measured if entry.load == "closed:1"]
    assert asked == ["one", "two", "two", "one"]
    assert {entry.load for entry in measured if entry.side == "limit, INT8"} == {BEST, SINGLE}


def test_at_least_one_round_is_done_when_time_is_over():
    measured = rounds_of([Side("one", 5.0)], [Cell("mixed", Closed(1))], count=9, minutes=0.0)
    assert {entry.round for entry in measured} == {0}


def test_a_side_that_fails_does_not_stop_the_others():
    measured = rounds_of([Side("dead", 0), Side("one", 5.0)], [Cell("mixed", Closed(1))], count=1)
    told = {entry.side: entry.error for entry in measured if entry.load == "closed:1"}
    assert told == {"dead": "no request was answered", "one": ""}


def test_a_hopeless_rate_is_not_asked():
    slow = Side("slow", 50.0)
    rounds_of([slow], [Cell("mixed", Closed(8)), Cell("mixed", Arrivals(60.0)), Cell("mixed", Arrivals(200.0))], 1)
    assert [label for _, label, _ in slow.asked] == ["closed:8", "poisson:60"]


def test_special_sides_are_asked_only_where_they_are_named():
    special = [cell for cell in cells() if cell.takes(HTTP) or cell.takes(CACHED)]
    assert {cell.sides for cell in special} == {(HTTP,), (CACHED,)}


def document():
    """Two rounds in which ours and the limit vary together."""
    entries = []

    def add(side, load, numbers, workload="mixed"):
        for turn, factor in enumerate((1.0, 2.0)):
            taken = {name: value * factor for name, value in numbers.items()}
            entries.append(
                {"block": 0, "round": turn, "side": side, "workload": workload, "load": load, "figures": taken}
                | {"error": ""}
            )

    for workload in ("mixed", "short"):
        add("limit, INT8", BEST, {"texts_per_s": 1000.0, "batch": 16.0}, workload)
        add("limit, INT8", SINGLE, {"p50_ms": 1.0}, workload)
        add("limit, FP32", BEST, {"texts_per_s": 500.0, "batch": 16.0}, workload)
        add(INT8, "closed:32", figures(960.0), workload)
        add(INT8, "closed:1", figures(700.0, 1.5), workload)
    add(FP32, "closed:32", figures(450.0))
    add(FP32, "closed:1", figures(300.0))
    add("litserve", "closed:32", figures(150.0, 80.0))
    add("litserve", "closed:1", figures(30.0))
    answers = {"mean_cosine": 1.0, "min_cosine": 1.0, "spearman": 0.5}
    sides = {name: {"answers": answers, "ready_s": 2.0, "memory_mb": 300.0} for name in (INT8, FP32, "limit, INT8")}
    sides["litserve"] = {"title": "LitServe", "settings": "batching", "answers": answers | {"spearman": 0.502}}
    sides["bento"] = {"title": "BentoML", "settings": "batching", "error": "not installed: no | such package\nat all"}
    profile = {"latency_ms": 2.0, "queue_ms": 0.1, "compute_ms": 1.5, "around_ms": 0.4, "rows": 1.0, "padding": 0.0}
    return {
        "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 24.0, "system": "Linux", "python": "3.11.7"},
        "versions": {"onnxruntime": "1.31"},
        "date": "2026-11-22",
        "workloads": {"mixed": {"about": "texts", "mean": 21.0, "median": 16.0, "most": 120}},
        "peaks": {"ONNX Runtime, FP32": 400.0, "ONNX Runtime, INT8": 1800.0},
        "operations_of_mixed_text": 4e8,
        "sides": sides,
        "profile": {INT8: {"1": profile | {"minilm_encoder_ms": 1.2}}},
        "measured": entries,
    }


def test_ratios_are_medians_of_each_rounds_ratio():
    results = Results(document())
    assert results.figure(INT8, "mixed", "closed:32") == 1440
    assert results.against(INT8, "litserve", "mixed", "closed:32") == pytest.approx(6.4)
    assert results.against(INT8, "bento", "mixed", "closed:32") is None
    assert results.peers == ["litserve", "bento"]


def test_targets_say_by_how_much_they_are_missed():
    found = {target.what: target for target in targets(Results(document()))}
    share = found["mixed, at saturation: share of the limit"]
    assert (share.value, share.verdict) == (pytest.approx(0.96), "met")
    single = found["mixed, one at a time: p50, times the limit's"]
    assert (single.value, single.verdict) == (pytest.approx(1.5), "missed by 25%")
    assert found["Spearman below that peer's, in points"].value == pytest.approx(0.2)
    assert found["mixed, 32 at once, FP32: times the best peer in FP32"].is_met


def test_the_page_has_everyone_also_those_without_figures(tmp_path):
    update_document(tmp_path / "benchmarks.json", "build", {"runs": []})
    update_document(tmp_path / "benchmarks.json", "serving", document())
    text = page_from_document(tmp_path / "benchmarks.json")
    assert "a processor, 2 cores" in text
    assert "| LitServe | 225 | 6.40 | 3.00 |" in text
    assert "| BentoML | not installed: no / such package |" in text
    assert "      not installed: no | such package\n      at all" in text
    widths = {}
    for line in text.splitlines():
        if line.startswith("|"):
            widths.setdefault(line.count("|"), []).append(line)
    heads = [text.splitlines()[place - 1] for place, line in enumerate(text.splitlines()) if line.startswith("| ---")]
    assert {head.count("|") for head in heads} == set(widths)


def test_the_readme_shows_builds_too():
    runs = [{"case": "cold", "wall_s": 32.4, "peak_mb": 1300.0, "ran": 9, "hit": 0}]
    every = {"serving": document(), "build": {"targets": ["cpu"], "rounds": 3, "runs": runs}}
    found = tables.readme_tables(every)
    assert "| cold build, with the gates of accuracy and speed | 32 s | 1,300 MB |" in found["builds"]
    assert set(found) == {"limits", "peers", "targets", "builds"}


def test_counters_are_read_by_name_and_step():
    text = (
        '# HELP tritonpack_rows_total Rows\ntritonpack_rows_total{model="m",step="m_encoder"} 12\n'
        'tritonpack_step_seconds_total{model="m",step="m_tokenizer"} 0.5\nnv_other_total{model="m"} 3\n'
    )
    assert counters_from_text(text) == {("rows", "m_encoder"): 12.0, ("step_seconds", "m_tokenizer"): 0.5}
