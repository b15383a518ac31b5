import { readFileSync } from "node:fs";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import * as errors from "../src/errors.js";
import { ERROR_FROM_STATUS, errorFromStatus } from "../src/status.js";

const NAMES = Object.keys(status).filter((name) => Number.isNaN(Number(name))) as (keyof typeof status)[];
const HERE = { model: "minilm", endpoint: "127.0.0.1:8001", attempts: 2, maxAttempts: 5 };

test("every gRPC status is mapped", () => {
  expect(NAMES).toHaveLength(17);
  expect(Object.keys(ERROR_FROM_STATUS).sort()).toEqual([...NAMES].sort());
});

test.each(NAMES)("%s gives an error with the facts", (name) => {
  const error = errorFromStatus(status[name], "some words.", HERE);
  const [kind, hint] = ERROR_FROM_STATUS[name];
  expect(error).toBeInstanceOf(errors.TritonClientError);
  expect(error.constructor).toBe(kind);
  expect(error).toMatchObject({ ...HERE, reason: "some words", status: name, hint });
  expect(error.message).toMatch(/^some words \(model 'minilm' at 127\.0\.0\.1:8001, attempt 2 of 5\)/);
  expect(error.message).toContain(error.hint);
});

test.each([undefined, -1, 99])("status %s is still an error of ours", (code) => {
  expect(errorFromStatus(code, "what?")).toBeInstanceOf(errors.ServerFailureError);
});

describe("what Triton refuses is told apart from a dead server", () => {
  test.each([
    ["Request for unknown model: 'minilm' has no available versions", errors.ModelNotFoundError],
    ["[request id: <id_unknown>] Exceeds maximum queue size", errors.OverloadedError],
    ["in ensemble 'minilm', [request id: 7] Exceeds maximum queue size", errors.OverloadedError],
    ["in ensemble 'minilm', Request timeout expired", errors.QueueTimeoutError],
    ["connect ECONNREFUSED", errors.ServerUnavailableError],
  ])("%s", (words, kind) => {
    expect(errorFromStatus(status.UNAVAILABLE, words).constructor).toBe(kind);
  });
});

test.each([
  [status.INTERNAL, "Received RST_STREAM with code 0 (Call ended without gRPC status)"],
  [status.INTERNAL, "Received RST_STREAM with code 2 triggered by internal client error: write EPIPE"],
  [status.CANCELLED, "Call cancelled"],
  [status.UNAVAILABLE, "Connection dropped"],
])("a broken connection, in grpc-js's words, is a server that isn't there: %s %s", (code, words) => {
  expect(errorFromStatus(code, words).constructor).toBe(errors.ServerUnavailableError);
});

test("our own cancelling is no broken connection", () => {
  const error = errorFromStatus(status.CANCELLED, "Cancelled on client");
  expect(error.constructor).toBe(errors.RequestCancelledError);
});

test("an unnamed request is not announced", () => {
  const error = errorFromStatus(
    status.INVALID_ARGUMENT,
    "[request id: <id_unknown>] batch-size must be <= 32",
  );
  expect(error.reason).toBe("batch-size must be <= 32");
});

test("the tree is as drawn, and every class carries its name", () => {
  const drawing = readFileSync(new URL("../src/errors.ts", import.meta.url), "utf8");
  for (const [name, kind] of Object.entries(errors)) {
    expect(new kind("words").name).toBe(name);
    expect(drawing).toMatch(new RegExp(` \\* .*${name}`));
  }
  expect(new errors.QueueTimeoutError("late")).toBeInstanceOf(errors.OverloadedError);
  expect(new errors.InputTypeError("wrong")).toBeInstanceOf(errors.InvalidInputError);
});

test("the cause is kept", () => {
  const cause = new Error("reset");
  expect(errorFromStatus(14, "reset", { cause }).cause).toBe(cause);
});
