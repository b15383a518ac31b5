import { expect, test } from "vitest";
import { InvalidInputError } from "../src/errors.js";
import { type ClientOptions, settingsFrom } from "../src/options.js";

test.each(["http://127.0.0.1:8001", "grpc://host:1", "localhost", "", ":8001", "host:port"])(
  "'%s' isn't host:port",
  (url) => {
    expect(() => settingsFrom({ url })).toThrow(/isn't host:port/);
  },
);

test.each<ClientOptions>([
  { url: [] },
  { timeoutMs: 0 },
  { timeoutMs: -1 },
  { timeoutMs: Number.NaN },
  { concurrency: 0 },
  { concurrency: 1.5 },
  { keepaliveMs: 0 },
  { retries: { attempts: 0 } },
  { compression: "zip" as "gzip" },
  { headers: { "grpc-timeout": "1" } },
  { headers: { "not a name": "1" } },
  { headers: { authorization: "line\nbreak" } },
  { tls: { certificate: new Uint8Array() } },
  { tls: { key: new Uint8Array() } },
  { tls: { ca: "/no/such/file.pem" } },
])("%j is refused", (options) => {
  expect(() => settingsFrom(options)).toThrow(InvalidInputError);
});

test("one url or several", () => {
  expect(settingsFrom({}).urls).toEqual(["127.0.0.1:8001"]);
  expect(settingsFrom({ url: ["a:1", "[::1]:2"] }).urls).toEqual(["a:1", "[::1]:2"]);
});

test("a function is asked for headers each time", () => {
  let attempt = 0;
  const { headers } = settingsFrom({ headers: () => ({ traceparent: String(attempt++) }) });
  expect([headers().traceparent, headers().traceparent]).toEqual(["0", "1"]);
});

test("what gRPC is told", () => {
  const { channel } = settingsFrom({
    compression: "gzip",
    keepaliveMs: 400_000,
    tls: { serverName: "triton.example" },
  });
  expect(channel).toMatchObject({
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.default_compression_algorithm": 2,
    "grpc.keepalive_time_ms": 400_000,
    "grpc.ssl_target_name_override": "triton.example",
  });
});
