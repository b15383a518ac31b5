"""Calls through clients of both kinds while connections break and the server is killed.

    python clients/conformance/chaos.py [--requests 100000] [--kills 2] [--json]

Half of the calls go through `Client` and threads, half through `AsyncClient`. A client lives for a hundred calls, so
that there are many connections; of these 5% are reset, at once or after some answers, and 5% are slow. The server is
killed (SIGKILL) and started anew on the way. Every call must end in the right answer or in an error of the client's,
within its deadline; what may not be sent twice must not run twice; and at the end nothing is left: no thread, no
socket, no region of shared memory. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import tritonclient.grpc as triton
from crews import Ledger, Plan, awaiting_crews, work_blocking
from local_server import HERE, running_control

from tritonpack.server.embedded import ServerOptions, free_ports, start, stop
from tritonpack_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tritonpack.server.embedded import RunningServer

SHARE = 0.05
SLOW = {"delay_share": SHARE, "delay_s": 0.01, "jitter_s": 0.03}
FAULTS = ({"reset_share": SHARE, **SLOW}, {"reset_share": SHARE, "reset_after_bytes": 600, "seed": 1, **SLOW})
LIFE = 100
CREWS = 6
MODELS = ("hash", "moods")
_SETTLES_S = 10.0

Report = Callable[[int], None]


class World:
    """A server that can be killed, and proxies with faults in front of it.

    Args:
        repository: a copy of the models, for this run.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.server: RunningServer = self._start()
        self.control = ""

    def _start(self) -> RunningServer:
        return start(ServerOptions(self._repository, *free_ports(), models=MODELS))

    def kill(self) -> None:
        """Kill the server with all its processes, start another and lead the proxies there."""
        os.killpg(self.server.state.pid, signal.SIGKILL)
        # What a killed server leaves is removed as after a crash; its clients' regions are theirs.
        stop(self.server.state, at_once=True)
        self.server = self._start()
        self.ask("PUT", "/upstream", {"url": self.server.grpc_url})

    def ask(self, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the proxies' control."""
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{self.control}{path}", data, method=verb)  # noqa: S310 (our own)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (the same)
            found: dict[str, Any] = json.load(answer)
            return found


@contextmanager
def world() -> Iterator[World]:
    """Start everything; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        made = World(shutil.copytree(HERE / "repository", Path(folder, "repository")))
        try:
            with running_control(made.server.grpc_url) as control:
                made.control = control
                yield made
        finally:
            made.server.stop()


def held() -> dict[str, int]:
    """What this process holds."""
    return {
        "threads": threading.active_count(),
        "sockets": len(psutil.Process().net_connections()),
        "regions": len(regions()),
    }


def regions() -> set[str]:
    """The regions of shared memory that this process has mapped."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return {line.split()[5] for line in maps if "/dev/shm/" in line}  # noqa: S108 (where Linux has them)


def left_behind(before: dict[str, int], seen: set[str]) -> dict[str, int]:
    """What is held that wasn't before, once threads and sockets had time to end."""
    deadline = time.monotonic() + _SETTLES_S
    while True:
        gc.collect()
        now = held()
        more = {name: max(0, now[name] - before[name]) for name in before}
        more["regions"] += sum(Path(name).exists() for name in seen)
        if not any(more.values()) or time.monotonic() > deadline:
            return more
        time.sleep(0.2)


def registered(url: str) -> list[str]:
    """The regions of shared memory that the server still has."""
    with triton.InferenceServerClient(url) as client:
        return list(client.get_system_shared_memory_status().regions)


def executed(url: str, texts: Sequence[str]) -> list[int]:
    """How often the server executed each text."""
    with Client(url) as client:
        return client.embed("moods", [f"count:{text}" for text in texts])[:, 0].astype(int).tolist()


def run(requests: int, kills: int, report: Report) -> dict[str, Any]:
    """Do it.

    Args:
        requests: calls in all.
        kills: of the server, evenly spread.
        report: called several times a second with the calls that are done.
    """
    with world() as made:
        proxies = [made.ask("POST", "/proxies", {"faults": faults}) for faults in FAULTS]
        urls = [proxy["url"] for proxy in proxies]
        # gRPC keeps a thread and a socket for its own, once it was used.
        crews(Plan([made.server.grpc_url], 4, 1, shared_memory=True, ledger=Ledger()), 1, lambda: None)
        before, ledger, began, seen = held(), Ledger(), time.monotonic(), set[str]()
        marks = [requests * (number + 1) // (kills + 1) for number in range(kills)]

        def tick() -> None:
            seen.update(regions())
            report(ledger.done)
            if marks and ledger.done >= marks[0]:
                del marks[0]
                made.kill()
                ledger.forget_counts()

        crews(Plan(urls, requests, LIFE, shared_memory=True, ledger=ledger), CREWS, tick)
        took_s = time.monotonic() - began
        counted = ledger.check_counts(lambda texts: executed(made.server.grpc_url, texts))
        counters = [made.ask("GET", f"/proxies/{proxy['id']}") for proxy in proxies]
        left = left_behind(before, seen) | {"registered regions": len(registered(made.server.grpc_url))}
    return {
        "requests": ledger.done,
        "kills": kills,
        "regions": len(seen),
        "took_s": round(took_s, 1),
        "connections": sum(counter["connections"] for counter in counters),
        "resets": sum(counter["resets"] for counter in counters),
        "tried_again": dict(ledger.again),
        "counted": counted,
        "outcomes": outcomes(ledger),
        "must_not_be": {name: getattr(ledger, name) for name in ("overdue", "wrong", "unmapped", "twice")},
        "left_behind": left,
    }


def crews(plan: Plan, count: int, tick: Callable[[], None]) -> None:
    """Let so many crews of each kind work, and call ``tick`` meanwhile."""
    threads = [threading.Thread(target=work_blocking, args=(plan,)) for _ in range(count)]
    threads.append(threading.Thread(target=lambda: asyncio.run(awaiting_crews(plan, count))))
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            tick()


def outcomes(ledger: Ledger) -> list[dict[str, Any]]:
    """A row for each client and outcome, answers first."""
    rows = [
        {
            "client": client,
            "outcome": outcome,
            "count": len(times),
            "p50_ms": round(1000 * statistics.median(times), 2),
            "p99_ms": round(1000 * float(np.percentile(times, 99)), 1),
            "longest_s": round(max(times), 3),
            "example": ledger.examples.get((client, outcome), ""),
        }
        for (client, outcome), times in ledger.times.items()
    ]
    return sorted(rows, key=lambda row: (row["client"], row["outcome"] != "answer", -row["count"]))


def failed(document: dict[str, Any]) -> bool:
    """Whether something is that must not be."""
    return any(document["must_not_be"].values()) or any(document["left_behind"].values())


def print_tables(document: dict[str, Any]) -> None:
    """For people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = "{requests:,} calls in {took_s:g} s, {connections:,} connections, {resets} resets, {kills} kills"
    table = Table(title=title.format(**document), box=None)
    names = [name for name in document["outcomes"][0] if name != "example"]
    for name in names:
        table.add_column(name, justify="left" if name in {"client", "outcome"} else "right")
    for row in document["outcomes"]:
        table.add_row(*(f"{row[name]:,}" if isinstance(row[name], int) else str(row[name]) for name in names))
    console.print(table)
    console.print(f"tried again: {document['tried_again']}; regions of shared memory: {document['regions']}")
    console.print(f"left behind: {document['left_behind']}")
    for name, found in document["must_not_be"].items():
        console.print(f"{name}: {len(found)}", *found[:5], sep="\n  ", markup=False)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Calls through broken connections to a server that is killed")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--progress", action="store_true", help="print the number of calls that are done, a line each")
    arguments = parser.parse_args()

    def report(done: int) -> None:
        if arguments.progress:
            print(done, flush=True)

    document = run(arguments.requests, arguments.kills, report)
    if arguments.json:
        print(json.dumps(document))
    else:
        print_tables(document)
    sys.exit(failed(document))


if __name__ == "__main__":
    main()
