"""TCP proxies with faults in front of one server, controlled by HTTP and JSON.

    python clients/conformance/proxy.py --upstream 127.0.0.1:8001

prints ``{"control": "http://127.0.0.1:PORT"}`` and runs until its standard input ends. The README beside this file
has the requests and the faults.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import uuid
from http import HTTPStatus
from typing import Any

from faults import ADDRESS, Faults, Proxy


class RequestError(Exception):
    """A request that can't be done.

    Args:
        status: of the answer.
        message: what is wrong.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """The proxies, and the HTTP endpoint that makes, changes and removes them.

    Args:
        upstream: the server's ``host:port``.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._proxies: dict[str, Proxy] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        try:
            verb, path, content = await _read(reader)
            status, answer = HTTPStatus.OK, await self._do(verb, path, content)
        except RequestError as error:
            status, answer = error.status, {"error": str(error)}
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        writer.close()

    async def _do(self, verb: str, path: str, content: dict[str, Any]) -> dict[str, Any]:
        match verb, path.strip("/").split("/"):
            case "POST", ["proxies"]:
                return await self._make(_faults(content))
            case "PUT", ["upstream"] if isinstance(content.get("url"), str):
                return self._move(content["url"])
            case "GET", ["proxies", name]:
                return self._find(name).report()
            case "PUT", ["proxies", name]:
                proxy = self._find(name)
                await proxy.change(_faults(content))
                return proxy.report()
            case "DELETE", ["proxies", name]:
                proxy = self._find(name)
                del self._proxies[name]
                proxy.close()
                return proxy.report()
        raise RequestError(HTTPStatus.NOT_FOUND, f"{verb} {path}: there is no such request")

    async def _make(self, faults: Faults) -> dict[str, Any]:
        proxy = Proxy(self._upstream, faults)
        await proxy.change(faults)
        name = uuid.uuid4().hex
        self._proxies[name] = proxy
        return {"id": name, "url": proxy.url}

    def _move(self, upstream: str) -> dict[str, Any]:
        self._upstream = upstream
        for proxy in self._proxies.values():
            proxy.upstream = upstream
        return {"url": upstream}

    def _find(self, name: str) -> Proxy:
        if name not in self._proxies:
            raise RequestError(HTTPStatus.NOT_FOUND, f"there is no proxy {name}")
        return self._proxies[name]


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, Any]]:
    """Read the verb, the path and the JSON of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    verb, path, *_ = [*head[0].split(" "), "", ""]
    fields = dict(line.lower().partition(":")[::2] for line in head[1:] if line)
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    try:
        content = json.loads(body or b"{}")
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"the body isn't JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(HTTPStatus.BAD_REQUEST, "the body isn't a JSON object")
    return verb, path, content


def _faults(content: dict[str, Any]) -> Faults:
    faults = content.get("faults", {})
    known = {field.name for field in dataclasses.fields(Faults)}
    if unknown := sorted(set(faults) - known):
        raise RequestError(HTTPStatus.BAD_REQUEST, f"no faults named {', '.join(unknown)}; there are {sorted(known)}")
    return Faults(**faults)


async def serve(upstream: str) -> None:
    """Run until the standard input ends."""
    server = await asyncio.start_server(Control(upstream).answer, ADDRESS, 0)
    print(json.dumps({"control": f"http://{ADDRESS}:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="TCP proxies with faults, controlled by HTTP")
    parser.add_argument("--upstream", required=True, help="host:port of the server")
    asyncio.run(serve(parser.parse_args().upstream))


if __name__ == "__main__":
    main()
