/** TLS and mutual TLS: a terminator in front of the real server, whose certificates are made here. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type Server, type TlsOptions } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AccessDeniedError, Client, ServerUnavailableError } from "../../src/index.js";
import { SERVER } from "./address.js";

const folder = mkdtempSync(join(tmpdir(), "tls-"));
const servers: Server[] = [];

function openssl(...words: string[]): void {
  execFileSync("openssl", words, { cwd: folder, stdio: "pipe" });
}

function certificate(name: string): void {
  const key = ["-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`];
  openssl("req", ...key, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
  writeFileSync(join(folder, `${name}.ext`), `subjectAltName=DNS:${name}.example\n`);
  const authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
  openssl(
    "x509",
    "-req",
    "-in",
    `${name}.csr`,
    ...authority,
    "-out",
    `${name}.pem`,
    "-extfile",
    `${name}.ext`,
  );
}

function path(name: string): string {
  return join(folder, name);
}

/** A terminator's `host:port`. */
async function terminator(options: TlsOptions): Promise<string> {
  const [host = "", port = ""] = SERVER.split(":");
  const own = { cert: readFileSync(path("server.pem")), key: readFileSync(path("server.key")) };
  const server = createServer({ ...own, ALPNProtocols: ["h2"], ...options }, (socket) => {
    const upstream = connect(Number(port), host);
    socket.pipe(upstream).pipe(socket);
    socket.on("error", () => upstream.destroy());
    upstream.on("error", () => socket.destroy());
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(() => {
  const own = ["-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca"];
  openssl("req", "-x509", ...own);
  certificate("server");
  certificate("client");
});

afterAll(() => {
  for (const server of servers) {
    server.close();
  }
  rmSync(folder, { recursive: true });
});

const serverName = "server.example";
const once = { attempts: 1 };

test("a server whose certificate is trusted", async () => {
  const url = await terminator({});
  await using client = new Client({ url, tls: { ca: path("ca.pem"), serverName } });
  expect(await client.embed("hash", ["a"])).toHaveLength(1);
});

test.each<[string, object]>([
  ["of an authority that nobody knows", { serverName }],
  ["for another name", { ca: path("ca.pem"), serverName: "other.example" }],
])("a certificate %s is refused", async (_, tls) => {
  const url = await terminator({});
  await using client = new Client({ url, tls, retries: once });
  await expect(client.server()).rejects.toThrow(AccessDeniedError);
});

test("a server that wants to know who calls", async () => {
  const url = await terminator({
    requestCert: true,
    rejectUnauthorized: true,
    ca: readFileSync(path("ca.pem")),
  });
  const trusted = { ca: path("ca.pem"), serverName };
  const known = {
    ...trusted,
    certificate: readFileSync(path("client.pem")),
    key: readFileSync(path("client.key")),
  };
  await using client = new Client({ url, tls: known });
  expect(await client.server()).toContain("triton");
  await using stranger = new Client({ url, tls: trusted, retries: once });
  await expect(stranger.server()).rejects.toThrow(ServerUnavailableError);
});
