"""The cases with Python's clients: ``--client sync`` or ``--client async``. The README beside this file says how.

Reads ``{"server", "control", "cases"}`` from standard input; prints one line of JSON a case.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import request

import numpy as np
from compare import array_from_json, difference

import tritonpack_client
from tritonpack_client import AsyncClient, Client, Retries, TritonClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST = {
    **dict.fromkeys(("embed", "iter_embed", "tag", "fill_mask", "next_tokens"), "texts"),
    **dict.fromkeys(("infer", "stream"), "inputs"),
    "classify": "rows",
    "score_pairs": "pairs",
    "answer": "questions",
}
"""Call -> the argument that is passed by its position."""
MODEL_BY_NAME = ("is_ready", "wait_ready")
ITERATED = ("iter_embed", "stream")

# What surrounds us may name a proxy for HTTP; the control is on this machine.
_OPENER = request.build_opener(request.ProxyHandler({}))


class Course:
    """What a case needs, and what came of it.

    Args:
        case: as its file has it.
        urls: of the client's endpoints.
        begin: begins the faults.
    """

    def __init__(self, case: dict[str, Any], urls: list[str], begin: Callable[[], None]) -> None:
        self.case = case
        self.result: Any = None
        self.error: TritonClientError | None = None
        self.took_s = 0.0
        self._urls = urls
        self._begin = begin
        self._call = case["call"]

    def run(self, *, is_async: bool) -> None:
        """Make the client, warm it, and call."""
        try:
            if is_async:
                asyncio.run(self._run_async())
            else:
                self._run_sync()
        except TritonClientError as error:
            self.error = error

    def _run_sync(self) -> None:
        with Client(**self._options()) as client:
            if self.case.get("warm"):
                client.limits(self.case["model"])
            self._begin()
            positional, named = self._arguments()
            with self._timed():
                result = getattr(client, self._call)(*positional, **named)
                self._keep(list(result) if self._call in ITERATED else result)

    async def _run_async(self) -> None:
        async with AsyncClient(**self._options()) as client:
            if self.case.get("warm"):
                await client.limits(self.case["model"])
            self._begin()
            positional, named = self._arguments()
            with self._timed():
                result = getattr(client, self._call)(*positional, **named)
                self._keep([item async for item in result] if self._call in ITERATED else await result)

    def _keep(self, result: Any) -> None:
        if self._call == "iter_embed":
            result = np.stack(result) if result else np.zeros((0, 0), np.float32)
        self.result = result

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.took_s = time.monotonic() - started

    def _options(self) -> dict[str, Any]:
        options = {"url": self._urls, **self.case.get("client", {})}
        if "retries" in options:
            options["retries"] = Retries(**options["retries"])
        return options

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        named = dict(self.case.get("arguments", {}))
        positional = []
        if "model" in self.case and self._call in MODEL_BY_NAME:
            named["model"] = self.case["model"]
        elif "model" in self.case:
            positional.append(self.case["model"])
        if self._call in FIRST:
            positional.append(self._data(named.pop(FIRST[self._call])))
        return positional, named

    def _data(self, data: Any) -> Any:
        if self._call in ("infer", "stream"):
            return {name: array_from_json(item) if isinstance(item, dict) else item for name, item in data.items()}
        return iter(data) if self._call == "iter_embed" and isinstance(data, list) else data

    def problem(self) -> str:
        """Say what isn't as the case expects; an empty string if everything is."""
        expect, bounds = self.case["expect"], self.case.get("took_s", {})
        if "error" in expect:
            found = self._error_difference(expect["error"])
        elif self.error is not None:
            found = f"{type(self.error).__name__}: {self.error}"
        elif "result_contains" in expect:
            found = "" if expect["result_contains"] in str(self.result) else f"result is {self.result!r}"
        else:
            found = difference(expect["result"], self.result)
        if not found and not bounds.get("least", 0) <= self.took_s <= bounds.get("most", self.took_s):
            found = f"took {self.took_s:.2f} s, outside of {bounds}"
        return found

    def _error_difference(self, expected: dict[str, Any]) -> str:
        if self.error is None:
            return f"no error, but {str(self.result)[:200]}"
        names = [expected["class"]] if isinstance(expected["class"], str) else expected["class"]
        if not isinstance(self.error, tuple(getattr(tritonpack_client, name) for name in names)):
            return f"{type(self.error).__name__}, not {' or '.join(names)}: {self.error}"
        if self.error.attempts != expected.get("attempts", self.error.attempts):
            return f"{self.error.attempts} attempts, not {expected['attempts']}: {self.error}"
        if expected.get("contains", "").lower() not in str(self.error).lower():
            return f"no {expected['contains']!r} in: {self.error}"
        return ""


def run_case(case: dict[str, Any], server: str, control: str, *, is_async: bool) -> dict[str, Any]:
    """Run one case, with proxies of its own where it has faults."""
    faults = case.get("endpoints", [case["faults"]] if "faults" in case else [])
    at_first = [{} if case.get("warm") else fault for fault in faults]
    proxies = [_ask(control, "POST", "/proxies", {"faults": fault}) for fault in at_first]

    def begin() -> None:
        for proxy, fault in zip(proxies, faults, strict=True):
            _ask(control, "PUT", f"/proxies/{proxy['id']}", {"faults": fault})

    before = _executed(server, case)
    course = Course(case, [proxy["url"] for proxy in proxies] or [server], begin if case.get("warm") else lambda: None)
    try:
        course.run(is_async=is_async)
        why = course.problem()
    except Exception as error:  # noqa: BLE001 (whatever a client raises is that case's failure, and no other's)
        why = f"{type(error).__name__}, which is no error of the client's: {error}"
    finally:
        for proxy in proxies:
            _ask(control, "DELETE", f"/proxies/{proxy['id']}")
    times = {text: count - before[text] for text, count in _executed(server, case).items()}
    if not why and times != case.get("executed", {}):
        why = f"executed {times}, not {case['executed']}"
    return {"name": case["name"], "passed": not why, "why": why, "took_s": round(course.took_s, 3)}


def _executed(server: str, case: dict[str, Any]) -> dict[str, int]:
    """Ask the server itself how often the texts were executed."""
    texts = list(case.get("executed", {}))
    if not texts:
        return {}
    with Client(server) as client:
        counts = client.embed("moods", [f"count:{text}" for text in texts]).ravel().tolist()
    return dict(zip(texts, map(int, counts), strict=True))


def _ask(control: str, verb: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    body = None if content is None else json.dumps(content).encode()
    with _OPENER.open(request.Request(control + path, body, method=verb), timeout=30) as answer:  # noqa: S310 (ours)
        return dict(json.load(answer))


def main() -> None:
    """Read the command line and the job."""
    parser = argparse.ArgumentParser(description="the conformance cases with Python's clients")
    parser.add_argument("--client", choices=("sync", "async"), default="sync")
    is_async = parser.parse_args().client == "async"
    job = json.load(sys.stdin)
    for path in job["cases"]:
        for case in json.loads(Path(path).read_text(encoding="utf-8")):
            outcome = run_case(case, job["server"], job["control"], is_async=is_async)
            print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
